//! What a receiver makes of a request: gzip and protobuf, read without any code of the shipper.
//!
//! A message is read into a tree of fields first, and then by the numbers of opentelemetry-proto. Whatever is not as it
//! says is a panic.

use std::io::Read;

use flate2::read::GzDecoder;

/// A line as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The pipe.
    pub service: String,
    /// Its name for ever.
    pub uid: String,
    /// Its time, ns since the epoch.
    pub time_ns: u64,
    /// Its bytes.
    pub body: Vec<u8>,
    /// They came as a string.
    pub is_string: bool,
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The records of a compressed request, and the attributes of its resources.
pub fn decode(body: &[u8]) -> (Vec<Record>, Vec<(String, String)>) {
    let mut message = Vec::new();
    GzDecoder::new(body).read_to_end(&mut message).expect("gzip");
    let (mut records, mut attributes) = (Vec::new(), Vec::new());
    for resource_logs in all(&message, 1) {
        let of_resource: Vec<_> = all(one(resource_logs, 1), 1).map(key_value).collect();
        let service = of_resource.iter().find(|(key, _)| key == "service.name").expect("a service").1.clone();
        for scope_logs in all(resource_logs, 2) {
            assert_eq!(one(one(scope_logs, 1), 1), b"standpipe");
            records.extend(all(scope_logs, 2).map(|record| read_record(&service, record)));
        }
        attributes.extend(of_resource);
    }
    (records, attributes)
}

fn read_record(service: &str, record: &[u8]) -> Record {
    let [time_ns, observed_ns] = [1, 11].map(|field| {
        let value = fields(record).find(|(number, _)| *number == field);
        let Some((_, Value::Number(time_ns))) = value else { panic!("no time in field {field}") };
        time_ns
    });
    assert_eq!(time_ns, observed_ns);
    let (field, body) = fields(one(record, 5)).next().expect("a body");
    let Value::Bytes(body) = body else { panic!("a body of another kind: field {field}") };
    assert!(field == 1 || field == 7, "a string or bytes");
    assert!(field == 7 || str::from_utf8(body).is_ok(), "a string is UTF-8");
    let attributes: Vec<_> = all(record, 6).map(key_value).collect();
    let [(key, uid)] = &attributes[..] else { panic!("{attributes:?}") };
    assert_eq!(key, "log.record.uid");
    Record { service: service.to_owned(), uid: uid.clone(), time_ns, body: body.to_vec(), is_string: field == 1 }
}

fn key_value(message: &[u8]) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (text(one(message, 1)), text(one(one(message, 2), 1)))
}

fn one(message: &[u8], field: u64) -> &[u8] {
    all(message, field).next().unwrap_or_else(|| panic!("no field {field}"))
}

fn all(message: &[u8], field: u64) -> impl Iterator<Item = &[u8]> {
    fields(message).filter(move |(number, _)| *number == field).map(move |(_, value)| match value {
        Value::Bytes(bytes) => bytes,
        Value::Number(number) => panic!("field {field} is {number}"),
    })
}

fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        if message.is_empty() {
            return None;
        }
        let head = varint(&mut message);
        let value = match head & 7 {
            1 => {
                let (taken, rest) = message.split_at(8);
                message = rest;
                Value::Number(u64::from_le_bytes(taken.try_into().expect("eight bytes")))
            }
            0 => Value::Number(varint(&mut message)),
            2 => {
                let len = varint(&mut message) as usize;
                let (taken, rest) = message.split_at(len);
                message = rest;
                Value::Bytes(taken)
            }
            kind => panic!("a field of type {kind}"),
        };
        Some((head >> 3, value))
    })
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a varint has an end");
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return number;
        }
    }
    panic!("a varint of more than ten bytes")
}
