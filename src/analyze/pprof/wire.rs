//! The form of a profile on the wire: its messages, and the walk over its top level.

use super::PprofError;

/// Most that one message in it may be; a sample of 128 frames has about 500 bytes.
pub(super) const MAX_MESSAGE: usize = 256 << 10;

/// The messages, as far as they are read.
pub(super) mod proto {
    /// A column.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct ValueType {
        #[prost(int64, tag = "1")]
        pub(crate) kind: i64,
        #[prost(int64, tag = "2")]
        pub(crate) unit: i64,
    }
    /// A stack and its values; the first location is the innermost.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Sample {
        #[prost(uint64, repeated, tag = "1")]
        pub(crate) locations: Vec<u64>,
        #[prost(int64, repeated, tag = "2")]
        pub(crate) values: Vec<i64>,
    }
    /// An address; several lines where functions were inlined, the innermost first.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Location {
        #[prost(uint64, tag = "1")]
        pub(crate) id: u64,
        #[prost(message, repeated, tag = "4")]
        pub(crate) lines: Vec<Line>,
    }
    /// A line in a function.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Line {
        #[prost(uint64, tag = "1")]
        pub(crate) function: u64,
    }
    /// A function; texts are places in the string table.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Function {
        #[prost(uint64, tag = "1")]
        pub(crate) id: u64,
        #[prost(int64, tag = "2")]
        pub(crate) name: i64,
        #[prost(int64, tag = "4")]
        pub(crate) file: i64,
    }
}

/// A field of the top level.
pub(super) enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

/// Hands every field of the top level to `take`.
pub(super) fn walk<'a>(
    bytes: &'a [u8],
    mut take: impl FnMut(Field<'a>) -> Result<(), PprofError>,
) -> Result<(), PprofError> {
    const CUT: PprofError = PprofError::Form("it is cut off, or not protobuf");
    let mut rest = bytes;
    while !rest.is_empty() {
        let key = varint(&mut rest).ok_or(CUT)?;
        let field = key >> 3;
        if field == 0 {
            return Err(PprofError::Form("it has a field of number 0"));
        }
        match key & 7 {
            0 => take(Field::Number(field, varint(&mut rest).ok_or(CUT)?))?,
            2 => {
                let length = usize::try_from(varint(&mut rest).ok_or(CUT)?).map_err(|_| CUT)?;
                let (inner, after) = rest.split_at_checked(length).ok_or(CUT)?;
                rest = after;
                take(Field::Bytes(field, inner))?;
            }
            1 => rest = rest.get(8..).ok_or(CUT)?,
            5 => rest = rest.get(4..).ok_or(CUT)?,
            _ => return Err(PprofError::Form("it has a field of an unknown kind")),
        }
    }
    Ok(())
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

pub(super) fn message<M: prost::Message + Default>(bytes: &[u8]) -> Result<M, PprofError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(PprofError::Form("a message in it is larger than any genuine one"));
    }
    M::decode(bytes).map_err(PprofError::Message)
}
