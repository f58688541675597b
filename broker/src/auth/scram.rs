//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as a state machine without I/O: two messages of the client, two answers.
//!
//! A name that does not exist is led through the same exchange with a salt that is made up from it, the same at each
//! try, so that nobody can find out which names there are. Channel binding is not offered. Passwords are taken as
//! the bytes they are, without SASLprep (RFC 4013), as in CONNECT.

use crate::credential::scram_keys::{CHOSEN_ROUNDS, MADE_ROUNDS, ScramKeys, code};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The name of the method in CONNECT and AUTH.
pub(crate) const METHOD: &str = "SCRAM-SHA-256";

/// The longest message of a client, in bytes.
const MESSAGE_BYTES_MAX: usize = 2048;

/// The longest nonce of a client, in bytes.
const NONCE_BYTES_MAX: usize = 256;

/// Bytes of our part of the nonce, before base64.
pub(crate) const NONCE_BYTES: usize = 18;

/// Why an exchange has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScramError {
    /// A message that is none of this method.
    #[error("the SCRAM message is malformed")]
    Malformed,
    /// The client insists on channel binding, or on an authorisation identity.
    #[error("the client asks for what SCRAM-SHA-256 here does not offer")]
    NotOffered,
    /// The proof is wrong, or the name does not exist.
    #[error("the SCRAM proof is wrong")]
    WrongProof,
}

/// The first message of a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientFirst {
    /// Whom it wants to be.
    pub(crate) name: String,
    gs2_header: String,
    bare: String,
    nonce: String,
}

/// Between the two messages of a client.
#[derive(Debug)]
pub(crate) struct Exchange {
    keys: ScramKeys,
    /// Whether the name exists.
    is_known: bool,
    gs2_header: String,
    /// What both sides sign, as far as it has been said.
    said: String,
    nonce: String,
}

impl ClientFirst {
    /// Reads `n,,n=<name>,r=<nonce>`.
    pub(crate) fn parse(message: &[u8]) -> Result<Self, ScramError> {
        let text = text(message)?;
        let mut parts = text.splitn(3, ',');
        let (Some(binding), Some(authorised), Some(bare)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(ScramError::Malformed);
        };
        // `y`: it could bind to the channel, and thinks that we could not (RFC 5802 6).
        if !matches!(binding, "n" | "y") || !authorised.is_empty() {
            return Err(ScramError::NotOffered);
        }
        let mut attributes = bare.split(',');
        let name = attributes.next().and_then(|it| it.strip_prefix("n="));
        let nonce = attributes.next().and_then(|it| it.strip_prefix("r="));
        let (Some(name), Some(nonce)) = (name, nonce) else { return Err(ScramError::Malformed) };
        let is_printable = nonce.bytes().all(|byte| byte.is_ascii_graphic());
        if nonce.is_empty() || nonce.len() > NONCE_BYTES_MAX || !is_printable {
            return Err(ScramError::Malformed);
        }
        Ok(Self {
            name: unescaped(name)?,
            gs2_header: format!("{binding},,"),
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
        })
    }
}

impl Exchange {
    /// Answers the first message. Without keys the name does not exist; `made_up` is a secret of this node.
    pub(crate) fn begin(
        first: ClientFirst,
        keys: Option<ScramKeys>,
        made_up: &[u8; 32],
        own_nonce: &[u8],
    ) -> (Self, String) {
        let is_known = keys.is_some();
        let keys = keys.unwrap_or_else(|| made_up_keys(made_up, &first.name));
        let nonce = first.nonce + &STANDARD.encode(own_nonce);
        let answer = format!("r={nonce},s={},i={}", STANDARD.encode(keys.salt), keys.rounds);
        let said = format!("{},{answer}", first.bare);
        (Self { keys, is_known, gs2_header: first.gs2_header, said, nonce }, answer)
    }

    /// Answers the second message, `c=<gs2 header>,r=<nonce>,p=<proof>`, which has to prove the secret.
    pub(crate) fn finish(self, message: &[u8]) -> Result<String, ScramError> {
        let text = text(message)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|it| it.strip_prefix("c="));
        let nonce = attributes.next().and_then(|it| it.strip_prefix("r="));
        if binding != Some(&STANDARD.encode(&self.gs2_header)) || nonce != Some(&self.nonce) {
            return Err(ScramError::Malformed);
        }
        let proof = STANDARD.decode(proof).map_err(|_| ScramError::Malformed)?;
        let proof: [u8; 32] = proof.try_into().map_err(|_| ScramError::Malformed)?;
        let auth_message = format!("{},{without_proof}", self.said);
        let is_proof = self.keys.is_proof(auth_message.as_bytes(), &proof);
        if !is_proof || !self.is_known {
            return Err(ScramError::WrongProof);
        }
        let signature = self.keys.server_signature(auth_message.as_bytes());
        Ok(format!("v={}", STANDARD.encode(signature)))
    }
}

/// Keys that no password has, always the same for a name. The rounds are those of some name or other.
fn made_up_keys(made_up: &[u8; 32], name: &str) -> ScramKeys {
    let of = |what: &[u8]| code(made_up, &[what, name.as_bytes()]);
    let mut salt = [0; 16];
    salt.iter_mut().zip(of(b"salt")).for_each(|(out, byte)| *out = byte);
    let rounds = if of(b"rounds")[0] & 1 == 0 { MADE_ROUNDS } else { CHOSEN_ROUNDS };
    ScramKeys { salt, rounds, stored_key: of(b"stored"), server_key: of(b"server") }
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(ScramError::Malformed);
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed)
}

/// `=2C` and `=3D` stand for `,` and `=` (RFC 5802 5.1).
fn unescaped(name: &str) -> Result<String, ScramError> {
    let mut parts = name.split('=');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (mark, rest) = part.split_at_checked(2).ok_or(ScramError::Malformed)?;
        out.push(match mark {
            "2C" => ',',
            "3D" => '=',
            _ => return Err(ScramError::Malformed),
        });
        out.push_str(rest);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of RFC 7677 3.
    const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const CLIENT_FINAL: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                  p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn keys() -> ScramKeys {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        ScramKeys::new(b"pencil", salt, MADE_ROUNDS)
    }

    /// The state after the first answer of the example, whose nonce is no base64 of bytes.
    fn example() -> Exchange {
        let first = ClientFirst::parse(CLIENT_FIRST).unwrap();
        Exchange {
            keys: keys(),
            is_known: true,
            gs2_header: first.gs2_header,
            said: format!("{},{SERVER_FIRST}", first.bare),
            nonce: "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned(),
        }
    }

    #[test]
    fn the_example_of_rfc_7677_holds() {
        assert_eq!(ClientFirst::parse(CLIENT_FIRST).unwrap().name, "user");
        assert_eq!(example().finish(CLIENT_FINAL).unwrap(), SERVER_FINAL);
    }

    #[test]
    fn a_proof_that_is_not_right_to_the_bit_is_refused() {
        let text = String::from_utf8(CLIENT_FINAL.to_vec()).unwrap();
        for (from, to, expected) in [
            ("p=dHzb", "p=dHzc", ScramError::WrongProof),
            ("c=biws", "c=eSws", ScramError::Malformed),
            ("r=rOpr", "r=sOpr", ScramError::Malformed),
            (",p=dHzb", ",q=dHzb", ScramError::Malformed),
            ("p=dHzb", "p=", ScramError::Malformed),
        ] {
            let changed = text.replace(from, to);
            assert_eq!(example().finish(changed.as_bytes()), Err(expected), "{to}");
        }
    }

    #[test]
    fn a_name_that_does_not_exist_looks_like_any_other() {
        let begin = |keys| {
            let first = ClientFirst::parse(b"n,,n=nobody,r=abc").unwrap();
            Exchange::begin(first, keys, &[7; 32], &[1; NONCE_BYTES])
        };
        let (exchange, answer) = begin(None);
        assert_eq!(answer, begin(None).1, "the salt is the same at each try");
        assert!(
            answer.starts_with("r=abcAQEB") && answer.contains(",s=") && answer.contains(",i=")
        );
        let guess = format!("c=biws,r={},p={}", exchange.nonce, STANDARD.encode([0; 32]));
        assert_eq!(exchange.finish(guess.as_bytes()), Err(ScramError::WrongProof));
    }

    #[test]
    fn what_is_not_offered_and_what_is_malformed_is_refused() {
        for (message, expected) in [
            (&b"p=tls-unique,,n=user,r=abc"[..], ScramError::NotOffered),
            (b"n,a=other,n=user,r=abc", ScramError::NotOffered),
            (b"n,,n=user", ScramError::Malformed),
            (b"n,,m=ext,n=user,r=abc", ScramError::Malformed),
            (b"n,,n=user,r=", ScramError::Malformed),
            (b"n,,n=us=2Xer,r=abc", ScramError::Malformed),
            (b"n,,n=user,r=a\xFFc", ScramError::Malformed),
            (b"", ScramError::Malformed),
        ] {
            assert_eq!(ClientFirst::parse(message), Err(expected), "{message:?}");
        }
        let escaped = ClientFirst::parse(b"y,,n=a=2Cb=3Dc,r=x").unwrap();
        assert_eq!(escaped.name, "a,b=c");
    }

    proptest! {
        #[test]
        fn no_message_panics(first in proptest::collection::vec(any::<u8>(), 0..80), last in ".{0,80}") {
            let _ = ClientFirst::parse(&first);
            let _ = example().finish(last.as_bytes());
        }
    }
}
