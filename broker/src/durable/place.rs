//! What the row of a queue says of a message beside its body: one byte of flags.

use proto::Qos;

const QOS: u8 = 0b0000_0011;
const RELEASED: u8 = 0b0000_0100;
const RETAIN: u8 = 0b0000_1000;
const SUBSCRIPTION_IDS: u8 = 0b0001_0000;

/// How one session gets a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) qos: Qos,
    /// The RETAIN flag it is sent with.
    pub(crate) retain: bool,
    /// Subscriptions with an identifier have matched.
    pub(crate) has_subscription_ids: bool,
    /// PUBREC has come: what is left to do is PUBREL and PUBCOMP.
    pub(crate) is_released: bool,
}

impl Place {
    /// The byte.
    pub(crate) fn flags(self) -> u8 {
        let flag = |is_set, bit| if is_set { bit } else { 0 };
        u8::from(self.qos)
            | flag(self.retain, RETAIN)
            | flag(self.has_subscription_ids, SUBSCRIPTION_IDS)
            | flag(self.is_released, RELEASED)
    }

    /// What a byte says; bits without a meaning are passed over.
    pub(crate) fn read(flags: u8) -> Self {
        Self {
            qos: Qos::try_from(flags & QOS).unwrap_or_default(),
            retain: flags & RETAIN != 0,
            has_subscription_ids: flags & SUBSCRIPTION_IDS != 0,
            is_released: flags & RELEASED != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_as_they_are_written() {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            for bits in 0..8 {
                let place = Place {
                    qos,
                    retain: bits & 1 != 0,
                    has_subscription_ids: bits & 2 != 0,
                    is_released: bits & 4 != 0,
                };
                assert_eq!(Place::read(place.flags()), place);
            }
        }
    }
}
