//! Modbus (Modbus Application Protocol 1.1b3) over TCP (Modbus Messaging on TCP/IP 1.0b) and serial lines (Modbus over
//! Serial Line 1.02), the client's side.
//!
//! `modbus/README.md` is the reference for operators: options, addresses, limits, an example.
//! Inside: `address` and `point` give registers a meaning, `plan` joins points into requests,
//! `splits` remembers which requests the machine refuses; `pdu` are requests and answers as bytes, `custom` those of an
//! operator, `frame` what is around them on the wire; `line` opens a way to a machine, `wire` carries one request over
//! it, `bus` is a way that several units share, `session` the connection to one; `read` carries a plan out, `driver` is
//! the port.
//!
//! Protocol and framing are our own: libraries for clients know neither all functions nor what to do with a late answer
//! on a line that is shared. Those they have are the machines of the tests. Only `wire` and those above it know a
//! connection.

mod address;
mod bus;
mod config;
mod custom;
mod driver;
mod frame;
mod line;
mod pdu;
mod plan;
mod point;
mod read;
mod session;
mod splits;
mod wire;

pub use address::{Address, AddressError, Area, Bits};
pub(crate) use bus::Buses;
pub use config::{
    BAUD_RATES, BITS_PER_REQUEST_MAX, Framing, GAP_REGISTERS_DEFAULT, GAP_REGISTERS_MAX,
    ModbusSerialConfig, ModbusTcpConfig, Parity, REGISTERS_PER_REQUEST_MAX, UNIT_ID_DEFAULT,
};
pub use driver::ModbusDriver;
