//! A bounded reader of PHP's `serialize` format (ext/standard/var_unserializer.re).
//!
//! Scalars and arrays are read; objects, enums and references are skipped, never built. Bytes after the
//! value are ignored, as PHP 8.2 does. The reader borrows from its input, and takes memory in proportion
//! to what it has read, never to a length that the input claims.

/// The longest input, in bytes.
pub const BYTES_MAX: usize = 1 << 20;
/// The deepest nesting of arrays and objects.
pub const DEPTH_MAX: usize = 128;
/// The most values, keys not counted.
pub const VALUES_MAX: usize = 50_000;

/// Why an input was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// PHP would not read it either.
    Malformed,
    /// PHP would read it, but it exceeds a limit of this module.
    TooLarge,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `N;`
    Null,
    /// `b:1;`
    Bool(bool),
    /// `i:5;`
    Int(i64),
    /// `d:0.5;`
    Float(f64),
    /// `s:1:"x";`, any bytes.
    Text(&'a [u8]),
    /// `a:1:{…}`
    Array(Array<'a>),
    /// An object, an enum or a reference: skipped.
    Opaque,
}

/// The key of an array's element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// An integer.
    Int(i64),
    /// A text.
    Text(&'a [u8]),
}

/// An array in the order of the input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Array<'a>(pub Vec<(Key<'a>, Value<'a>)>);

impl<'a> Array<'a> {
    /// The value of a text key; the last one where the key repeats.
    pub fn get(&self, name: &[u8]) -> Option<&Value<'a>> {
        self.0.iter().rev().find(|(key, _)| *key == Key::Text(name)).map(|(_, value)| value)
    }
}

/// Reads one value.
///
/// # Errors
/// See [`Fault`].
pub fn unserialize(bytes: &[u8]) -> Result<Value<'_>, Fault> {
    if bytes.len() > BYTES_MAX {
        return Err(Fault::TooLarge);
    }
    Reader { bytes, at: 0, values: 0 }.value(0)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value<'a>, Fault> {
        self.values += 1;
        if depth > DEPTH_MAX || self.values > VALUES_MAX {
            return Err(Fault::TooLarge);
        }
        match self.next()? {
            b'N' => self.expect(b";").map(|()| Value::Null),
            b'b' => self.boolean(),
            b'i' => self.integer().map(Value::Int),
            b'd' => self.float(),
            b's' => self.text().map(Value::Text),
            b'a' => self.array(depth),
            b'O' => self.object(depth),
            b'C' => self.custom_object(),
            b'E' => self.text().map(|_| Value::Opaque),
            b'r' | b'R' => self.integer().map(|_| Value::Opaque),
            _ => Err(Fault::Malformed),
        }
    }

    fn boolean(&mut self) -> Result<Value<'a>, Fault> {
        match self.until(b';')? {
            b":0" => Ok(Value::Bool(false)),
            b":1" => Ok(Value::Bool(true)),
            _ => Err(Fault::Malformed),
        }
    }

    fn integer(&mut self) -> Result<i64, Fault> {
        self.expect(b":")?;
        number(self.until(b';')?)
    }

    fn float(&mut self) -> Result<Value<'a>, Fault> {
        self.expect(b":")?;
        match self.until(b';')? {
            b"INF" => Ok(Value::Float(f64::INFINITY)),
            b"-INF" => Ok(Value::Float(f64::NEG_INFINITY)),
            b"NAN" => Ok(Value::Float(f64::NAN)),
            text if text.iter().all(|b| b.is_ascii_digit() || b"+-.eE".contains(b)) => {
                number(text).map(Value::Float)
            }
            _ => Err(Fault::Malformed),
        }
    }

    /// `:3:"abc";`
    fn text(&mut self) -> Result<&'a [u8], Fault> {
        let text = self.quoted()?;
        self.expect(b";")?;
        Ok(text)
    }

    /// `:3:"abc"`
    fn quoted(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.length()?;
        self.expect(b"\"")?;
        let text = self.take(length)?;
        self.expect(b"\"")?;
        Ok(text)
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, Fault> {
        let count = self.length()?;
        let mut elements = Vec::new();
        self.expect(b"{")?;
        for _ in 0..count {
            elements.push((self.key()?, self.value(depth + 1)?));
        }
        self.expect(b"}")?;
        Ok(Value::Array(Array(elements)))
    }

    fn key(&mut self) -> Result<Key<'a>, Fault> {
        match self.next()? {
            b'i' => self.integer().map(Key::Int),
            b's' => self.text().map(Key::Text),
            _ => Err(Fault::Malformed),
        }
    }

    /// `:8:"stdClass":1:{s:1:"a";i:1;}`
    fn object(&mut self, depth: usize) -> Result<Value<'a>, Fault> {
        self.quoted()?;
        let count = self.length()?;
        self.expect(b"{")?;
        for _ in 0..count {
            self.key()?;
            self.value(depth + 1)?;
        }
        self.expect(b"}")?;
        Ok(Value::Opaque)
    }

    /// `:1:"S":4:{data}`: the data is the class's own.
    fn custom_object(&mut self) -> Result<Value<'a>, Fault> {
        self.quoted()?;
        let length = self.length()?;
        self.expect(b"{")?;
        self.take(length)?;
        self.expect(b"}")?;
        Ok(Value::Opaque)
    }

    /// `:3:`
    fn length(&mut self) -> Result<usize, Fault> {
        self.expect(b":")?;
        let digits = self.until(b':')?;
        if digits.iter().all(u8::is_ascii_digit) { number(digits) } else { Err(Fault::Malformed) }
    }

    fn next(&mut self) -> Result<u8, Fault> {
        self.take(1).map(|byte| byte[0])
    }

    fn expect(&mut self, wanted: &[u8]) -> Result<(), Fault> {
        if self.take(wanted.len())? == wanted { Ok(()) } else { Err(Fault::Malformed) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(count).ok_or(Fault::Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Fault::Malformed)?;
        self.at = end;
        Ok(taken)
    }

    /// What stands before the terminator, which is taken too; numbers have at most 32 bytes.
    fn until(&mut self, terminator: u8) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(33).position(|b| *b == terminator).ok_or(Fault::Malformed)?;
        self.at += length + 1;
        Ok(&rest[..length])
    }
}

fn number<N: std::str::FromStr>(text: &[u8]) -> Result<N, Fault> {
    std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or(Fault::Malformed)
}

#[cfg(test)]
#[path = "unserialize_tests.rs"]
mod tests;
