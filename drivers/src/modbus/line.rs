//! Opens a line to a machine, with the framing on it.

use super::config::{Framing, Line, ModbusSerialConfig, Options};
use super::wire::Wire;
use crate::port::ConnectError;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Opens the line.
pub(crate) async fn open(options: &Options) -> Result<Wire, ConnectError> {
    match &options.line {
        Line::Tcp { address, framing, .. } => {
            let stream = connect(address, options.timeout_ms).await?;
            Ok(Wire::new(stream, *framing))
        }
        Line::Serial(serial) => {
            let port = open_port(serial).map_err(|reason| ConnectError::Unreachable {
                address: serial.port.clone(),
                reason,
            })?;
            Ok(Wire::new(port, serial.framing).with_silence(silence(serial)))
        }
    }
}

/// What binary frames are told apart by: three and a half characters, and on fast lines a fixed time, since they would
/// be gone before anybody notices (Modbus over Serial Line 1.02, 2.5.1.1).
fn silence(serial: &ModbusSerialConfig) -> Duration {
    const FAST_BAUD_RATE: u32 = 19_200;
    const FAST: Duration = Duration::from_micros(1750);
    // Start, parity and stop bits with it, a character is eleven bits.
    match serial.framing {
        Framing::Ascii => Duration::ZERO,
        _ if serial.baud_rate > FAST_BAUD_RATE => FAST,
        _ => Duration::from_micros(38_500_000 / u64::from(serial.baud_rate)),
    }
}

async fn connect(address: &str, timeout_ms: u32) -> Result<TcpStream, ConnectError> {
    let address = address.to_owned();
    let deadline = Duration::from_millis(timeout_ms.into());
    let stream = match timeout(deadline, TcpStream::connect(&address)).await {
        Err(_) => return Err(ConnectError::Timeout { address, timeout_ms }),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(ConnectError::Refused { address });
        }
        Ok(Err(error)) => {
            return Err(ConnectError::Unreachable { address, reason: error.to_string() });
        }
        Ok(Ok(stream)) => stream,
    };
    // Requests are small and wait for their answer: Nagle's algorithm would only delay them.
    match stream.set_nodelay(true) {
        Ok(()) => Ok(stream),
        Err(error) => Err(ConnectError::Unreachable { address, reason: error.to_string() }),
    }
}

#[cfg(feature = "serial")]
fn open_port(config: &ModbusSerialConfig) -> Result<tokio_serial::SerialStream, String> {
    use super::config::Parity;
    use tokio_serial::SerialPortBuilderExt as _;
    let parity = match config.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    };
    let data_bits = match config.data_bits {
        7 => tokio_serial::DataBits::Seven,
        _ => tokio_serial::DataBits::Eight,
    };
    let stop_bits = match config.stop_bits {
        2 => tokio_serial::StopBits::Two,
        _ => tokio_serial::StopBits::One,
    };
    let port = tokio_serial::new(&config.port, config.baud_rate)
        .parity(parity)
        .data_bits(data_bits)
        .stop_bits(stop_bits);
    let port = port.open_native_async().map_err(|error| error.to_string())?;
    // What has come while nobody listened answers nothing.
    let cleared = tokio_serial::SerialPort::clear(&port, tokio_serial::ClearBuffer::Input);
    cleared.map_err(|error| error.to_string())?;
    Ok(port)
}

#[cfg(not(feature = "serial"))]
fn open_port(_config: &ModbusSerialConfig) -> Result<TcpStream, String> {
    Err("this build has no serial lines".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_line_is_silent_for_longer() {
        let of = |baud_rate, framing| {
            let config = ModbusSerialConfig::new("/dev/ttyUSB0");
            silence(&ModbusSerialConfig { baud_rate, framing, ..config }).as_micros()
        };
        assert_eq!(of(9600, Framing::Rtu), 4010);
        assert_eq!(of(19_200, Framing::Rtu), 2005);
        assert_eq!(of(115_200, Framing::Rtu), 1750);
        assert_eq!(of(9600, Framing::Ascii), 0);
    }
}
