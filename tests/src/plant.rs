//! `manifold-sim plant` as a process, and a Modbus TCP master of a few lines that looks into it.

use crate::binaries;
use crate::process::{PATIENCE, Process};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

/// The unit that the plant answers for.
const UNIT_ID: u8 = 1;

/// A running plant.
#[derive(Debug)]
pub struct Plant {
    process: Process,
    address: SocketAddr,
}

impl Plant {
    /// Starts a plant on a free port.
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    /// Starts a plant where one has been before.
    pub async fn start_at(address: impl ToString) -> Self {
        let mut command = Command::new(binaries::manifold_sim());
        command.env_clear().args(["plant", "--listen", &address.to_string()]);
        let mut process = Process::start("manifold-sim plant", &mut command);
        let line = process.line_with("plant listening on ").await;
        let address = line.split_whitespace().next_back().and_then(|it| it.parse().ok());
        Self { process, address: address.expect("the plant says where it listens") }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `kill -9`.
    pub async fn kill(self) {
        self.process.kill().await;
    }

    /// Writes a holding register (function code 6).
    pub async fn write_holding(&self, offset: u16, value: u16) {
        let [a, b] = offset.to_be_bytes();
        let [c, d] = value.to_be_bytes();
        let answer = self.exchange([6, a, b, c, d]).await;
        assert_eq!(answer, [6, a, b, c, d], "the plant refused the write");
    }

    /// Reads a holding register (function code 3).
    pub async fn read_holding(&self, offset: u16) -> u16 {
        let [a, b] = offset.to_be_bytes();
        let answer = self.exchange([3, a, b, 0, 1]).await;
        let [3, 2, high, low] = answer[..] else { panic!("the plant refused: {answer:?}") };
        u16::from_be_bytes([high, low])
    }

    /// One request and its answer, each on a connection of its own.
    async fn exchange(&self, request: [u8; 5]) -> Vec<u8> {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await?;
            let mut frame = vec![0, 1, 0, 0, 0, 6, UNIT_ID];
            frame.extend(request);
            stream.write_all(&frame).await?;
            let mut head = [0; 7];
            stream.read_exact(&mut head).await?;
            let length = u16::from_be_bytes([head[4], head[5]]);
            let mut answer = vec![0; usize::from(length) - 1];
            stream.read_exact(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = tokio::time::timeout(PATIENCE, exchange).await;
        answer.expect("the plant answers in time").expect("the plant answers")
    }
}
