//! The plant over real sockets, read and written with an independent Modbus client.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

use std::net::SocketAddr;
use std::time::Duration;

use sim::plant::{CONNECTIONS_MAX, Plant, TANK_CAPACITY_L};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_modbus::client::{Context, tcp};
use tokio_modbus::prelude::{ExceptionCode, Reader, Writer};

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn start() -> Running {
    let server = Plant::bind("127.0.0.1:0".parse().unwrap()).await.unwrap().with_step_ms(10);
    let address = server.local_addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Running { address, stop, task }
}

async fn client(address: SocketAddr) -> Context {
    tcp::connect(address).await.unwrap()
}

/// Polls until `check` holds; fails after ten seconds.
async fn eventually(client: &mut Context, check: impl Fn(&[u16]) -> bool) -> Vec<u16> {
    let mut input = Vec::new();
    for _ in 0..500 {
        input = client.read_input_registers(0, 16).await.unwrap().unwrap();
        if check(&input) {
            return input;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the plant never got there: {input:?}");
}

#[tokio::test]
async fn values_move_on_their_own() {
    let plant = start().await;
    let mut client = client(plant.address).await;
    let first = client.read_input_registers(4, 2).await.unwrap().unwrap();
    eventually(&mut client, |input| input[4..6] != first[..]).await;
}

#[tokio::test]
async fn switching_the_pump_off_stops_the_outflow() {
    let plant = start().await;
    let mut client = client(plant.address).await;
    eventually(&mut client, |input| input[3] > 0).await;
    client.write_single_coil(1, false).await.unwrap().unwrap();
    assert_eq!(client.read_coils(0, 3).await.unwrap().unwrap(), [true, false, true]);
    let input = eventually(&mut client, |input| input[3] == 0 && input[9] == 0).await;
    let volume = f32::from_bits((u32::from(input[4]) << 16) | u32::from(input[5]));
    assert!(f64::from(volume) > 0.0 && f64::from(volume) <= TANK_CAPACITY_L);
    let discrete = client.read_discrete_inputs(0, 6).await.unwrap().unwrap();
    assert!(!discrete[2], "the pump still reports running");
}

#[tokio::test]
async fn holding_registers_are_written_and_read_back_and_the_valve_follows() {
    let plant = start().await;
    let mut client = client(plant.address).await;
    client.write_multiple_registers(0, &[650, 500]).await.unwrap().unwrap();
    client.write_single_register(2, 0).await.unwrap().unwrap();
    let holding = client.read_holding_registers(0, 3).await.unwrap().unwrap();
    assert_eq!(holding, [650, 500, 0]);
    eventually(&mut client, |input| input[12] == 650 && input[2] == 0).await;
}

#[tokio::test]
async fn bad_requests_get_their_exception_and_the_connection_goes_on() {
    let plant = start().await;
    let mut client = client(plant.address).await;
    let address = Err(ExceptionCode::IllegalDataAddress);
    assert_eq!(client.read_input_registers(16, 1).await.unwrap(), address);
    assert_eq!(client.read_holding_registers(5, 2).await.unwrap(), address);
    let value = Err(ExceptionCode::IllegalDataValue);
    assert_eq!(client.write_single_register(0, 1001).await.unwrap(), value);
    assert_eq!(client.write_multiple_coils(0, &[]).await.unwrap(), value);
    let function = Err(ExceptionCode::IllegalFunction);
    assert_eq!(client.masked_write_register(0, 0, 0).await.unwrap(), function);
    assert_eq!(client.read_holding_registers(0, 1).await.unwrap(), Ok(vec![700]));
}

#[tokio::test]
async fn malformed_frames_end_one_connection_only() {
    let plant = start().await;
    let mut good = client(plant.address).await;
    let frames: [&[u8]; 4] = [
        &[0, 1, 0, 0, 0, 0, 1, 3],
        &[0, 1, 0, 9, 0, 6, 1, 3, 0, 0, 0, 1],
        &[0, 1, 0, 0, 0, 7, 1, 0x10, 0, 0, 0x80, 0, 0],
        &[0, 1, 0, 0, 0, 8, 1, 0x0F, 0, 0, 0, 200, 1, 1],
    ];
    for frame in frames {
        let mut bad = TcpStream::connect(plant.address).await.unwrap();
        bad.write_all(frame).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), bad.read_to_end(&mut answer));
        assert!(ended.await.is_ok(), "still open after {frame:?}");
        assert!(good.read_coils(0, 1).await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn connections_are_bounded_and_a_freed_one_is_taken_again() {
    let plant = start().await;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut client = client(plant.address).await;
        client.read_coils(0, 1).await.unwrap().unwrap();
        clients.push(client);
    }
    let mut extra = client(plant.address).await;
    assert!(extra.read_coils(0, 1).await.is_err());
    drop(clients);
    for _ in 0..500 {
        let mut again = client(plant.address).await;
        if again.read_coils(0, 1).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no connection became free");
}

#[tokio::test]
async fn shutdown_closes_connections_and_the_same_port_can_be_bound_again() {
    let plant = start().await;
    let mut client = client(plant.address).await;
    client.read_coils(0, 1).await.unwrap().unwrap();
    plant.stop.send(()).unwrap();
    plant.task.await.unwrap();
    assert!(client.read_coils(0, 1).await.is_err());
    let again = Plant::bind(plant.address).await.unwrap();
    assert_eq!(again.local_addr(), plant.address);
}
