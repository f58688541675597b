//! All cases, in the order of the table in `docs/machine-faults.md`.

use crate::case::{Case, Sign};
use crate::line::Mood as Line;
use crate::modbus::{Door, Framing, Mood};
use crate::rig::{Fault, Server, Way};

const fn case(name: &'static str, fault: Fault, sign: Sign, what: &'static str) -> Case {
    Case { name, what, sign, fault }
}

const fn tcp(mood: Mood) -> Fault {
    Fault::Answers(Framing::Tcp, mood)
}

const fn rtu(mood: Mood) -> Fault {
    Fault::Answers(Framing::Rtu, mood)
}

const fn ascii(mood: Mood) -> Fault {
    Fault::Answers(Framing::Ascii, mood)
}

const fn line(mood: Line) -> Fault {
    Fault::Line(mood, Way::Pushed)
}

const fn server(server: Server) -> Fault {
    Fault::Server(server, Way::Pushed)
}

use Sign::{Bad, Good, Stale};

/// Modbus over TCP, as a machine speaks it and as converters do.
pub(crate) const MODBUS: &[Case] = &[
    case(
        "mb-killed",
        Fault::Door(Framing::Tcp, Door::Down),
        Stale,
        "it is switched off, and on again",
    ),
    case("mb-restart", Fault::Restart(Framing::Tcp), Good, "it restarts within 100 ms"),
    case("mb-absent", Fault::Absent, Stale, "it is not there when the driver starts"),
    case(
        "mb-half-open",
        Fault::Door(Framing::Tcp, Door::Dead),
        Stale,
        "the connection is dead without an end, and stays so; only a new one is answered",
    ),
    case(
        "mb-full",
        Fault::Door(Framing::Tcp, Door::Full),
        Good,
        "new connections are closed at once, the one that is there goes on",
    ),
    case(
        "mb-flapping",
        Fault::Flapping,
        Stale,
        "the connection breaks ten times in four seconds, then for longer",
    ),
    case("mb-silent", tcp(Mood::Silent), Stale, "it takes requests and does not answer"),
    case(
        "mb-late",
        tcp(Mood::Late(700)),
        Stale,
        "it answers when the request has been given up, so that each answer is one for an earlier request",
    ),
    case("mb-slow", tcp(Mood::Late(200)), Good, "it answers slowly"),
    case("mb-drip", tcp(Mood::Drip(10)), Good, "it answers byte by byte"),
    case("mb-drip-late", tcp(Mood::Drip(100)), Stale, "it answers byte by byte, too slowly"),
    case("mb-close", tcp(Mood::CloseOnRequest), Stale, "it closes instead of an answer"),
    case("mb-reset", tcp(Mood::Reset), Stale, "it resets the connection instead of an answer"),
    case("mb-half-hang", tcp(Mood::HalfThenHang), Stale, "half an answer, then nothing"),
    case("mb-half-close", tcp(Mood::HalfThenClose), Stale, "half an answer, then the end"),
    case("mb-twice", tcp(Mood::Twice), Good, "each answer comes twice"),
    case("mb-stray", tcp(Mood::Stray), Stale, "before each answer comes one to nothing"),
    case("mb-garbage", tcp(Mood::Garbage), Stale, "other bytes instead of an answer"),
    case("mb-protocol", tcp(Mood::WrongCheck), Stale, "another protocol identifier"),
    case("mb-transaction", tcp(Mood::WrongTransaction), Stale, "another transaction identifier"),
    case("mb-unit", tcp(Mood::WrongUnit), Stale, "the answer of another unit"),
    case("mb-function", tcp(Mood::WrongFunction), Stale, "the answer to another function"),
    case("mb-byte-count", tcp(Mood::WrongByteCount), Stale, "a byte count that is not true"),
    case("mb-too-long", tcp(Mood::TooLong), Stale, "the header says more bytes than come"),
    case("mb-too-short", tcp(Mood::TooShort), Stale, "the header says fewer bytes than come"),
    case("mb-busy", tcp(Mood::Exception(6)), Bad, "exception 6, busy"),
    case("mb-failure", tcp(Mood::Exception(4)), Bad, "exception 4, failure of the device"),
    case("mb-address", tcp(Mood::Exception(2)), Bad, "exception 2, the register is gone"),
    case(
        "mb-gateway",
        tcp(Mood::Exception(11)),
        Bad,
        "exception 11: the gateway is there, the machine behind it is not",
    ),
    case("mb-fewer", tcp(Mood::Fewer), Good, "it takes fewer registers at once than before"),
    case(
        "mb-rtu-killed",
        Fault::Door(Framing::Rtu, Door::Down),
        Stale,
        "a converter (RTU over TCP) is switched off",
    ),
    case("mb-rtu-silent", rtu(Mood::Silent), Stale, "RTU over TCP: no answer"),
    case("mb-rtu-crc", rtu(Mood::WrongCheck), Stale, "RTU over TCP: a wrong CRC"),
    case("mb-rtu-half", rtu(Mood::HalfThenHang), Stale, "RTU over TCP: half an answer"),
    case("mb-rtu-garbage", rtu(Mood::Garbage), Stale, "RTU over TCP: noise"),
    case(
        "mb-rtu-late",
        rtu(Mood::Late(700)),
        Stale,
        "RTU over TCP: answers that are too late, which say not to what",
    ),
    case("mb-ascii-lrc", ascii(Mood::WrongCheck), Stale, "ASCII over TCP: a wrong LRC"),
    case("mb-ascii-silent", ascii(Mood::Silent), Stale, "ASCII over TCP: no answer"),
    case("mb-ascii-garbage", ascii(Mood::Garbage), Stale, "ASCII over TCP: noise"),
];

/// OPC UA, by subscriptions unless it says otherwise.
pub(crate) const OPCUA: &[Case] = &[
    case(
        "ua-killed",
        server(Server::Killed),
        Stale,
        "the server is killed, and started again: other sessions, other subscriptions",
    ),
    case("ua-killed-polled", Fault::Server(Server::Killed, Way::Polled), Stale, "the same, polled"),
    case(
        "ua-killed-secured",
        Fault::Server(Server::Killed, Way::Secured),
        Stale,
        "the same, encrypted, as a user with a name",
    ),
    case("ua-restart", server(Server::Restarted), Good, "it restarts at once"),
    case("ua-absent", server(Server::Absent), Stale, "it is not there when the driver starts"),
    case(
        "ua-half-open",
        Fault::Buried(Way::Pushed),
        Stale,
        "the connection is dead without an end, and stays so",
    ),
    case("ua-half-open-polled", Fault::Buried(Way::Polled), Stale, "the same, polled"),
    case("ua-half-open-secured", Fault::Buried(Way::Secured), Stale, "the same, encrypted"),
    case(
        "ua-stalled",
        line(Line::Stalled),
        Stale,
        "nothing passes for a while; the connection goes on where it was",
    ),
    case(
        "ua-flapping",
        Fault::LineFlapping,
        Stale,
        "the connection breaks ten times in four seconds, then for longer",
    ),
    case("ua-cut", line(Line::Cut), Stale, "connections are closed as they come"),
    case("ua-reset", line(Line::Reset), Stale, "connections are reset as they come"),
    case("ua-mute", line(Line::Mute), Stale, "connections are taken, and nothing is said"),
    case("ua-slow", line(Line::Slow(300)), Good, "each answer takes 300 ms"),
    case("ua-drip", line(Line::Drip(1)), Good, "answers come byte by byte"),
    case("ua-garbage", line(Line::Garbage), Stale, "other bytes instead of an answer"),
    case("ua-half-hang", line(Line::HalfThenHang), Stale, "half a chunk, then nothing"),
    case("ua-half-close", line(Line::HalfThenClose), Stale, "half a chunk, then the end"),
    case("ua-huge", line(Line::HugeLength), Stale, "a chunk that says it has 4 GiB"),
    case("ua-tiny", line(Line::TinyLength), Stale, "a chunk that says it has 3 bytes"),
    case("ua-type", line(Line::WrongType), Stale, "a chunk of a type that there is not"),
    case("ua-channel", line(Line::WrongChannel), Stale, "a chunk of another channel"),
    case("ua-sequence", line(Line::WrongSequence), Stale, "a chunk out of sequence"),
    case("ua-request", line(Line::WrongRequest), Stale, "answers to requests that were not made"),
    case(
        "ua-error",
        line(Line::ErrorMessage),
        Stale,
        "the server ends connections with an error, too busy",
    ),
    case("ua-twice", line(Line::Twice), Stale, "each chunk comes twice, which is out of sequence"),
    case(
        "ua-tampered",
        Fault::Line(Line::WrongSequence, Way::Secured),
        Stale,
        "a byte of an encrypted chunk is another",
    ),
    case(
        "ua-namespaces",
        server(Server::NamespacesMoved),
        Good,
        "it restarts with its namespaces in another order",
    ),
    case(
        "ua-fewer-items",
        server(Server::FewerItems),
        Good,
        "it restarts, and takes one item in a request",
    ),
    case(
        "ua-certificate",
        Fault::Server(Server::OtherCertificate, Way::Secured),
        Stale,
        "another certificate is there, which nobody trusts; then the old one again",
    ),
    case(
        "ua-new-certificate",
        Fault::Server(Server::NewCertificate, Way::Secured),
        Stale,
        "another certificate, until an operator trusts it",
    ),
    case(
        "ua-secret",
        Fault::Server(Server::OtherSecret, Way::Secured),
        Stale,
        "the user has another secret there; then the old one again",
    ),
    case(
        "ua-endpoint",
        server(Server::NoOpenEndpoint),
        Stale,
        "it offers the security policy no more; then again",
    ),
    case(
        "ua-node-gone",
        Fault::Server(Server::NodeGone, Way::Polled),
        Bad,
        "the node is gone; then there again",
    ),
    case("ua-bad-status", server(Server::BadStatus), Bad, "the server says that the value is bad"),
    case("ua-not-a-number", server(Server::NotANumber), Bad, "the value is not a number"),
    case("ua-other-type", server(Server::OtherType), Bad, "the value is a text"),
];
