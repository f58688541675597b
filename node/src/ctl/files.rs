//! `import`, `try` and `export` with `file=…`, of things and tags: a file of any size, sent and fetched in pieces.
//!
//! The node takes so many rows at once and commits each piece by itself; what is done stays done. The result of each
//! row goes to stdout, with the secret of each new thing, how far it is to stderr.

use super::client::{Answer, Line};
use super::told;
use crate::outcome::{Failure, Outcome, print};
use anyhow::Context as _;
use serde_json::{Map, Value, json};
use std::io::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// The most rows in one piece.
const ROWS_MAX: usize = 500;

/// The bytes after which a piece ends: well below what a node takes in one packet.
const PIECE_BYTES: usize = 256 * 1024;

/// How often to say how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// A command that is about a file.
pub(super) struct Table {
    resource: &'static str,
    /// The column that names what a row is about.
    name: &'static str,
    file: PathBuf,
    format: Format,
    deed: Deed,
    /// The rest of the request.
    body: Map<String, Value>,
    /// The edge node that carries it out.
    edge: Option<String>,
}

/// What is done with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Import,
    /// Its rows are read from the machine.
    Try,
    Export,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Jsonl,
    /// A tag sheet of Neuron, as CSV.
    Neuron,
    /// A device profile of EdgeX, which is sent whole.
    Edgex,
}

/// Some rows of a file.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    bytes: Range<usize>,
    rows: usize,
}

/// What the help says besides of a command that may be about a file.
pub(super) fn note(resource: &str, verb: &str) -> Option<&'static str> {
    known(resource)?;
    match verb {
        "import" | "try" => Some("file=FILE in place of text sends a file of any size, in pieces"),
        "export" => Some("file=FILE writes all of it into a file"),
        _ => None,
    }
}

/// The resources that are tables, with the column that names a row.
fn known(resource: &str) -> Option<(&'static str, &'static str)> {
    [("things", "thing"), ("tags", "tag")].into_iter().find(|(name, _)| *name == resource)
}

impl Table {
    /// The command, if it is one of these; an error says what is wrong with it.
    pub(super) fn of(
        resource: &str,
        verb: &str,
        body: &Map<String, Value>,
        edge: Option<&str>,
    ) -> Result<Option<Self>, String> {
        let deed = match verb {
            "import" => Deed::Import,
            "try" => Deed::Try,
            "export" => Deed::Export,
            _ => return Ok(None),
        };
        let Some((resource, name)) = known(resource) else { return Ok(None) };
        let is_sent = deed != Deed::Export;
        let mut body = body.clone();
        let file = match body.remove("file") {
            None => return Ok(None),
            Some(Value::String(file)) => PathBuf::from(file),
            Some(_) => return Err("`file` is the name of a file".to_owned()),
        };
        let by_name = file.extension().and_then(|it| it.to_str()).unwrap_or_default().to_owned();
        let given = body.remove("format");
        let format = match given.as_ref().map_or(Some(&*by_name), Value::as_str) {
            Some("csv") => Format::Csv,
            Some("jsonl") => Format::Jsonl,
            Some("neuron") if resource == "tags" && is_sent => Format::Neuron,
            Some("edgex") if resource == "tags" && is_sent => Format::Edgex,
            _ => return Err("is it format=csv or format=jsonl?".to_owned()),
        };
        let edge = edge.map(str::to_owned);
        Ok(Some(Self { resource, name, file, format, deed, body, edge }))
    }

    /// Does it.
    pub(super) async fn carry_out(self, mut line: Line<'_>, as_json: bool) -> Outcome {
        let outcome = match self.deed {
            Deed::Import | Deed::Try => self.send(&mut line, as_json).await,
            Deed::Export => self.export(&mut line).await,
        };
        line.close().await;
        outcome
    }

    /// Sends the file, piece by piece.
    async fn send(&self, line: &mut Line<'_>, as_json: bool) -> Outcome {
        let name = self.file.display();
        let text = std::fs::read_to_string(&self.file).with_context(|| format!("{name}"))?;
        let (header, pieces) = match self.format {
            Format::Csv | Format::Neuron => csv_pieces(&text),
            Format::Jsonl => (0..0, line_pieces(&text)),
            Format::Edgex => (0..0, vec![Piece { bytes: 0..text.len(), rows: 1 }]),
        };
        let all: usize = pieces.iter().map(|piece| piece.rows).sum();
        let mut progress = Progress::new(self.deed, all);
        if !as_json {
            print(&format!("row,{},result,{},error\n", self.name, self.deed.found()))?;
        }
        for piece in pieces {
            let text = [&text[header.clone()], &text[piece.bytes.clone()]].concat();
            let data = self.ask(line, self.deed.verb(), json!({ "text": text })).await?;
            let rows = data["rows"].as_array().map_or(&[][..], Vec::as_slice);
            print(&results(rows, (self.name, self.deed.found()), progress.done, as_json))?;
            // How many resources a profile has is known to the node.
            let is_whole = self.format == Format::Edgex;
            let done = if is_whole { rows.len() } else { piece.rows };
            if is_whole {
                progress.all = done;
            }
            progress.step(done, &data);
        }
        progress.end()
    }

    async fn export(&self, line: &mut Line<'_>) -> Outcome {
        let name = self.file.display();
        let mut file = std::fs::File::create(&self.file).with_context(|| format!("{name}"))?;
        let mut cursor = Value::Null;
        loop {
            let data = self.ask(line, "export", json!({ "limit": 1000, "cursor": cursor })).await?;
            let text = data["text"].as_str().unwrap_or_default();
            file.write_all(text.as_bytes()).with_context(|| format!("{name}"))?;
            cursor = data["next_cursor"].clone();
            if cursor.is_null() {
                return file.sync_all().with_context(|| format!("{name}")).map_err(Into::into);
            }
        }
    }

    async fn ask(&self, line: &mut Line<'_>, verb: &str, more: Value) -> Result<Value, Failure> {
        let mut body = self.body.clone();
        body.insert("format".to_owned(), self.format.name().into());
        if let Value::Object(more) = more {
            body.extend(more);
        }
        let request = super::request(self.edge.as_deref(), self.resource, verb, body);
        let request = request.map_err(Failure::Usage)?;
        let answer: Answer = line.ask(&request).await?;
        answer.map_err(|refusal| Failure::failed(told(&refusal)))
    }
}

impl Deed {
    fn verb(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Try => "try",
            Self::Export => "export",
        }
    }

    /// The field of a row that tells something new.
    fn found(self) -> &'static str {
        if self == Self::Try { "v" } else { "secret" }
    }

    /// What can become of a row; whether that is a failure.
    fn results(self) -> [(&'static str, bool); 4] {
        match self {
            Self::Try => [("good", false), ("bad", true), ("refused", true), ("untried", false)],
            _ => [("created", false), ("updated", false), ("unchanged", false), ("refused", true)],
        }
    }
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Neuron => "neuron",
            Self::Edgex => "edgex",
        }
    }
}

/// The header of a table and its pieces. A cell may hold line breaks, so that lines are not rows.
fn csv_pieces(text: &str) -> (Range<usize>, Vec<Piece>) {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let _ = reader.byte_headers();
    let at = |reader: &csv::Reader<&[u8]>| {
        usize::try_from(reader.position().byte()).unwrap_or(usize::MAX).min(text.len())
    };
    let mut ends = vec![at(&reader)];
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).unwrap_or(false) {
        ends.push(at(&reader));
    }
    (0..ends[0], pieces(&ends))
}

fn line_pieces(text: &str) -> Vec<Piece> {
    let mut ends = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        if !line.trim().is_empty() {
            ends.push(at);
        }
    }
    pieces(&ends)
}

/// Puts rows together, each from one of these places to the next.
fn pieces(ends: &[usize]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for row in ends.windows(2) {
        let (from, to) = (row[0], row[1]);
        match pieces.last_mut() {
            Some(last) if last.rows < ROWS_MAX && to - last.bytes.start <= PIECE_BYTES => {
                last.rows += 1;
                last.bytes.end = to;
            }
            _ => pieces.push(Piece { bytes: from..to, rows: 1 }),
        }
    }
    pieces
}

/// The results of a piece, whose first row is number `before` + 1 of the file.
fn results(rows: &[Value], (name, found): (&str, &str), before: usize, as_json: bool) -> String {
    let mut text = String::new();
    let number = |row: &Value| row["row"].as_u64().map_or(0, |it| it as usize) + before;
    for row in rows {
        if as_json {
            let mut row = row.clone();
            row["row"] = number(&row).into();
            text.push_str(&format!("{row}\n"));
            continue;
        }
        let cell = |field: &str| match &row[field] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let error = match serde_json::from_value::<proto::Refusal>(row["error"].clone()) {
            Ok(refusal) => told(&refusal),
            Err(_) => String::new(),
        };
        let number = number(row).to_string();
        let cells = [number, cell(name), cell("result"), cell(found), error];
        let mut writer = csv::Writer::from_writer(Vec::new());
        // Into memory: there is no way to fail.
        let _ = writer.write_record(&cells);
        let line = writer.into_inner().unwrap_or_default();
        text.push_str(&String::from_utf8_lossy(&line));
    }
    text
}

/// How far an import is.
struct Progress {
    deed: Deed,
    all: usize,
    done: usize,
    counts: [u64; 4],
    told: Instant,
}

impl Progress {
    fn new(deed: Deed, all: usize) -> Self {
        Self { deed, all, done: 0, counts: [0; 4], told: Instant::now() }
    }

    fn step(&mut self, rows: usize, data: &Value) {
        self.done += rows;
        for (count, (name, _)) in self.counts.iter_mut().zip(self.deed.results()) {
            *count += data[name].as_u64().unwrap_or(0);
        }
        if self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            self.tell();
        }
    }

    /// Some rows that were refused are a failure, all others were done all the same.
    fn end(&self) -> Outcome {
        self.tell();
        let failures = self.counts.iter().zip(self.deed.results()).filter(|(_, (_, is))| *is);
        let what = if self.deed == Deed::Try { "bad or refused" } else { "refused" };
        match failures.map(|(count, _)| count).sum::<u64>() {
            0 => Ok(()),
            count => Err(Failure::failed(format_args!("{count} of {} rows {what}", self.all))),
        }
    }

    fn tell(&self) {
        let counts = self.counts.iter().zip(self.deed.results());
        let counts: Vec<String> =
            counts.map(|(count, (name, _))| format!("{count} {name}")).collect();
        let line = format!("{} of {} rows: {}", self.done, self.all, counts.join(", "));
        // Nobody reads a closed stderr; the import goes on all the same.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_between_rows_whatever_is_in_its_cells() {
        let rows: String = (0..1201).map(|row| format!("p{row},\"a\nb, {row}\"\n")).collect();
        let text = format!("thing,attributes.note\n{rows}");
        let (header, pieces) = csv_pieces(&text);
        assert_eq!(&text[header], "thing,attributes.note\n");
        assert_eq!(pieces.iter().map(|it| it.rows).collect::<Vec<_>>(), [500, 500, 201]);
        let whole: String = pieces.iter().map(|it| &text[it.bytes.clone()]).collect();
        assert_eq!(whole, rows);
        assert!(text[pieces[1].bytes.clone()].starts_with("p500,"));
        assert!(csv_pieces("").1.is_empty());

        let wide = "x".repeat(PIECE_BYTES / 2);
        let pieces = line_pieces(&format!("{wide}\n\n{wide}\n{wide}"));
        assert_eq!(pieces.iter().map(|it| it.rows).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn results_count_the_rows_of_the_file() {
        let rows = [
            json!({"row":1,"thing":"p1","result":"created","secret":"s"}),
            json!({"row":2,"thing":null,"result":"refused",
                "error":{"code":"invalid","message":"a, b","field":"thing"}}),
        ];
        assert_eq!(
            results(&rows, ("thing", "secret"), 500, false),
            "501,p1,created,s,\n502,,refused,,\"invalid: a, b (thing)\"\n"
        );
        let first = results(&rows[..1], ("thing", "secret"), 500, true);
        assert_eq!(serde_json::from_str::<Value>(&first).unwrap()["row"], json!(501));
    }

    #[test]
    fn what_was_tried_is_shown_with_its_value_and_bad_rows_are_a_failure() {
        let rows = [
            json!({"row":1,"tag":"a","result":"good","v":21.5}),
            json!({"row":2,"tag":"b","result":"untried"}),
        ];
        assert_eq!(results(&rows, ("tag", "v"), 0, false), "1,a,good,21.5,\n2,b,untried,,\n");
        let mut progress = Progress::new(Deed::Try, 2);
        progress.step(2, &json!({"good":1,"untried":1}));
        assert!(progress.end().is_ok());
        progress.step(1, &json!({"bad":1}));
        assert!(progress.end().is_err());
    }

    #[test]
    fn the_format_is_that_of_the_name_or_as_it_is_said() {
        let of = |body: Value| match body {
            Value::Object(body) => Table::of("things", "import", &body, None),
            _ => unreachable!("an object"),
        };
        let format = |body| of(body).map(|table| table.map(|table| table.format));
        assert_eq!(format(json!({"file":"a.csv"})), Ok(Some(Format::Csv)));
        assert_eq!(format(json!({"file":"a.txt","format":"jsonl"})), Ok(Some(Format::Jsonl)));
        assert_eq!(format(json!({"text":"thing","format":"csv"})), Ok(None));
        assert!(format(json!({"file":"a.csv","format":"neuron"})).is_err(), "of tags only");
        assert!(format(json!({"file":"a.txt"})).is_err() && format(json!({"file":7})).is_err());
    }
}
