//! One HTTP request as bytes on a socket, right or wrong, and its answer.

use crate::node::Node;
use crate::process::PATIENCE;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// What follows the head.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &'static str, path: &str) -> Self {
        let path = path.to_owned();
        Self { method, path, headers: Vec::new(), body: Vec::new() }
    }

    /// `GET path`.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// `POST path` with a JSON body.
    pub fn post(path: &str, body: &Value) -> Self {
        Self::new("POST", path).header("Content-Type", "application/json").body(body.to_string())
    }

    /// With a body, whatever it is.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With the credentials of a user or a device.
    #[must_use]
    pub fn user(self, name: &str, secret: &str) -> Self {
        let pair = base64(format!("{name}:{secret}").as_bytes());
        self.header("Authorization", &format!("Basic {pair}"))
    }

    /// The head, which says that a body of so many bytes follows.
    pub fn head(&self, body_bytes: usize) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: node\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {body_bytes}\r\n\r\n"));
        head
    }

    /// Sends it, and reads the answer.
    pub async fn send(&self, node: &Node) -> Answer {
        let exchange = async {
            let mut stream = TcpStream::connect(node.http()).await.expect("HTTP is there");
            stream.write_all(self.head(self.body.len()).as_bytes()).await.expect("it reads");
            // A body that is too long is answered before its end.
            let _ = stream.write_all(&self.body).await;
            Answer::read(&mut stream).await
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("HTTP answers in time")
    }
}

impl Answer {
    /// Reads an answer to the end of the connection.
    pub async fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A server that does not want the rest of a body resets the connection after its answer.
        let _ = stream.read_to_end(&mut bytes).await;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        Self {
            status: status.expect("a status is a number"),
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(its, _)| its == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The data of an answer that is 200; anything else fails the test.
    pub fn data(&self) -> Value {
        let mut json = self.json();
        assert_eq!((self.status, &json["ok"]), (200, &Value::Bool(true)), "{json}");
        json["data"].take()
    }

    /// The status, code and field of a refusal.
    pub fn refusal(&self) -> (u16, String, Option<String>) {
        let json = self.json();
        assert_eq!(json["ok"], false, "{json}");
        let text = |key: &str| json["error"][key].as_str().map(str::to_owned);
        assert!(text("message").is_some_and(|it| !it.is_empty()), "{json}");
        (self.status, text("code").expect("a refusal has a code"), text("field"))
    }
}

/// Base64 as RFC 4648 4 writes it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let is_there = digit <= three.len();
            let index = usize::try_from(bits >> (18 - 6 * digit) & 63).unwrap_or_default();
            text.push(if is_there { char::from(DIGITS[index]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
