//! Modbus (Modbus Application Protocol 1.1b3) over TCP (Modbus Messaging on TCP/IP 1.0b) and serial lines (Modbus over
//! Serial Line 1.02), the client's side.
//!
//! `modbus/README.md` is the reference for operators: options, addresses, limits, an example.
//! Inside: `address` and `point` give registers a meaning, `plan` joins points into requests,
//! `splits` remembers which requests the machine refuses, `line` and `ascii` are the ways
//! to a machine, `bus` those that several units share, `session` is the connection, `read`
//! carries a plan out, `driver` is the port.
//!
//! Only function codes 1-6, 15, 16 and 22 are used. Pure parts know no connection; only `session`,
//! `bus` and `line` know the library underneath.

mod address;
mod ascii;
mod bus;
mod config;
mod driver;
mod line;
mod plan;
mod point;
mod read;
mod session;
mod splits;

pub use address::{Address, AddressError, Area, Bits};
pub(crate) use bus::Buses;
pub use config::{
    BAUD_RATES, BITS_PER_REQUEST_MAX, Framing, GAP_REGISTERS_DEFAULT, GAP_REGISTERS_MAX,
    ModbusSerialConfig, ModbusTcpConfig, Parity, REGISTERS_PER_REQUEST_MAX, UNIT_ID_DEFAULT,
};
pub use driver::ModbusDriver;
