//! The reader against texts that PHP 8.2 wrote, and against what PHP refuses.

use super::*;
use proptest::prelude::*;

fn text(value: &str) -> Value<'_> {
    Value::Text(value.as_bytes())
}

fn list(values: Vec<Value<'_>>) -> Value<'_> {
    Value::Array(Array((0..).map(Key::Int).zip(values).collect()))
}

fn map<'a>(values: Vec<(&'a str, Value<'a>)>) -> Value<'a> {
    Value::Array(Array(values.into_iter().map(|(k, v)| (Key::Text(k.as_bytes()), v)).collect()))
}

#[test]
fn what_php_serializes_is_read() {
    // echo serialize(…) of PHP 8.2.
    let table = [
        ("b:0;", Value::Bool(false)),
        ("N;", Value::Null),
        ("i:-9223372036854775808;", Value::Int(i64::MIN)),
        ("i:9223372036854775807;", Value::Int(i64::MAX)),
        ("d:1.0E+100;", Value::Float(1e100)),
        ("d:-INF;", Value::Float(f64::NEG_INFINITY)),
        ("s:5:\"ü€\";", text("ü€")),
        ("s:0:\"\";", text("")),
        ("s:4:\"t\"x;\";", text("t\"x;")),
        ("a:0:{}", Value::Array(Array::default())),
        (
            "a:7:{s:6:\"_token\";s:3:\"abc\";s:50:\"login_web_59ba36addc2b2f9401580f014c7f58ea4e30989d\";i:7;\
             s:1:\"f\";d:1.5;s:1:\"b\";b:1;s:1:\"n\";N;s:3:\"neg\";i:-3;\
             s:4:\"list\";a:2:{i:0;s:1:\"x\";i:1;a:1:{s:1:\"y\";s:1:\"z\";}}}",
            map(vec![
                ("_token", text("abc")),
                ("login_web_59ba36addc2b2f9401580f014c7f58ea4e30989d", Value::Int(7)),
                ("f", Value::Float(1.5)),
                ("b", Value::Bool(true)),
                ("n", Value::Null),
                ("neg", Value::Int(-3)),
                ("list", list(vec![text("x"), map(vec![("y", text("z"))])])),
            ]),
        ),
    ];
    for (input, wanted) in table {
        assert_eq!(unserialize(input.as_bytes()), Ok(wanted), "{input}");
    }
}

#[test]
fn objects_enums_and_references_are_skipped_and_what_follows_is_read() {
    let table = [
        "O:1:\"P\":3:{s:1:\"a\";i:1;s:4:\"\0*\0b\";a:1:{i:0;i:2;}s:4:\"\0P\0c\";s:1:\"x\";}",
        "O:11:\"ArrayObject\":4:{i:0;i:0;i:1;a:2:{i:0;i:1;i:1;i:2;}i:2;a:0:{}i:3;N;}",
        "O:8:\"DateTime\":3:{s:4:\"date\";s:26:\"2026-01-02 03:04:05.000000\";s:13:\"timezone_type\";i:3;s:8:\"timezone\";s:3:\"UTC\";}",
        "C:1:\"S\":4:{i:1;}",
        "C:1:\"S\":6:{\"};s:1}",
        "E:3:\"E:A\";",
        "r:2;",
        "R:2;",
    ];
    for object in table {
        let input = format!("a:2:{{s:1:\"o\";{object}s:6:\"_token\";s:2:\"ok\";}}");
        let wanted = map(vec![("o", Value::Opaque), ("_token", text("ok"))]);
        assert_eq!(unserialize(input.as_bytes()), Ok(wanted), "{object}");
    }
}

#[test]
fn what_php_refuses_is_malformed() {
    let table = [
        "",
        "i:5",
        "i: 5;",
        "i:;",
        "i:-;",
        "b:2;",
        "b:1",
        "N",
        "d:abc;",
        "d:nan;",
        "s:3:\"ab\";",
        "s:+1:\"a\";",
        "s:-1:\"a\";",
        "s:99999999999999999999:\"a\";",
        "s:18446744073709551615:\"a\";",
        "a:1:{i:0;i:1;",
        "a:-1:{}",
        "a:1:{d:1;i:1;}",
        "a:1:{N;i:1;}",
        "a:1:{b:1;i:1;}",
        "a:99999999:{}",
        "O:1:\"P\":1:{N;i:1;}",
        "O:1:\"P\":1:{s:1:\"a\";i:1;",
        "C:1:\"S\":5:{i:1;}",
        "x:1;",
        "a:1:{i:0;}",
    ];
    for input in table {
        assert_eq!(unserialize(input.as_bytes()), Err(Fault::Malformed), "{input}");
    }
}

#[test]
fn what_php_tolerates_is_read() {
    assert_eq!(unserialize(b"a:1:{i:0;i:1;}zzz"), Ok(list(vec![Value::Int(1)])));
    assert_eq!(unserialize(b"i:+5;"), Ok(Value::Int(5)));
    assert_eq!(unserialize(b"d:.5;"), Ok(Value::Float(0.5)));
    let Ok(Value::Array(twice)) = unserialize(b"a:2:{s:1:\"k\";i:1;s:1:\"k\";i:2;}") else {
        panic!("not an array")
    };
    assert_eq!(twice.get(b"k"), Some(&Value::Int(2)));
}

fn nested(depth: usize) -> String {
    format!("{}i:1;{}", "a:1:{i:0;".repeat(depth), "}".repeat(depth))
}

#[test]
fn depth_is_bounded() {
    assert!(unserialize(nested(DEPTH_MAX).as_bytes()).is_ok());
    assert_eq!(unserialize(nested(DEPTH_MAX + 1).as_bytes()), Err(Fault::TooLarge));
    let objects = "O:1:\"P\":1:{i:0;".repeat(10_000);
    assert_eq!(unserialize(objects.as_bytes()), Err(Fault::TooLarge));
}

#[test]
fn the_number_of_values_is_bounded() {
    let of = |count: usize| format!("a:{count}:{{{}}}", "i:0;N;".repeat(count));
    assert!(unserialize(of(VALUES_MAX - 1).as_bytes()).is_ok());
    assert_eq!(unserialize(of(VALUES_MAX).as_bytes()), Err(Fault::TooLarge));
}

#[test]
fn the_size_is_bounded() {
    let of = |bytes: usize| {
        let mut input = format!("s:{}:\"{}\";", bytes - 14, "x".repeat(bytes - 14));
        assert!(input.len() <= bytes);
        input.push_str(&" ".repeat(bytes - input.len()));
        input
    };
    assert!(unserialize(of(BYTES_MAX).as_bytes()).is_ok());
    assert_eq!(unserialize(of(BYTES_MAX + 1).as_bytes()), Err(Fault::TooLarge));
}

/// A value that owns its texts, and how PHP writes it.
#[derive(Clone, Debug)]
enum Tree {
    Null,
    Int(i64),
    Text(Vec<u8>),
    Array(Vec<(Vec<u8>, Tree)>),
}

fn write(tree: &Tree, out: &mut Vec<u8>) {
    let quoted = |bytes: &[u8], out: &mut Vec<u8>| {
        out.extend(format!("s:{}:\"", bytes.len()).bytes());
        out.extend(bytes);
        out.extend(b"\";");
    };
    match tree {
        Tree::Null => out.extend(b"N;"),
        Tree::Int(n) => out.extend(format!("i:{n};").bytes()),
        Tree::Text(bytes) => quoted(bytes, out),
        Tree::Array(elements) => {
            out.extend(format!("a:{}:{{", elements.len()).bytes());
            for (key, value) in elements {
                quoted(key, out);
                write(value, out);
            }
            out.push(b'}');
        }
    }
}

fn value(tree: &Tree) -> Value<'_> {
    match tree {
        Tree::Null => Value::Null,
        Tree::Int(n) => Value::Int(*n),
        Tree::Text(bytes) => Value::Text(bytes),
        Tree::Array(elements) => {
            Value::Array(Array(elements.iter().map(|(k, v)| (Key::Text(k), value(v))).collect()))
        }
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..20);
    let leaf = prop_oneof![Just(Tree::Null), any::<i64>().prop_map(Tree::Int), bytes().prop_map(Tree::Text)];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        proptest::collection::vec((bytes(), inner), 0..6).prop_map(Tree::Array)
    })
}

proptest! {
    #[test]
    fn a_value_survives_its_text(tree in trees()) {
        let mut input = Vec::new();
        write(&tree, &mut input);
        prop_assert_eq!(unserialize(&input), Ok(value(&tree)));
    }

    #[test]
    fn every_prefix_is_malformed(tree in trees(), cut in any::<proptest::sample::Index>()) {
        let mut input = Vec::new();
        write(&tree, &mut input);
        let length = cut.index(input.len());
        prop_assert_eq!(unserialize(&input[..length]), Err(Fault::Malformed));
    }

    #[test]
    fn no_change_of_a_byte_panics(tree in trees(), at in any::<proptest::sample::Index>(), with in any::<u8>()) {
        let mut input = Vec::new();
        write(&tree, &mut input);
        let at = at.index(input.len());
        input[at] = with;
        let _ = unserialize(&input);
    }

    #[test]
    fn no_input_panics(input in "[abdisNOCErR:;{}\"0-9xE+-]{0,200}") {
        let _ = unserialize(input.as_bytes());
    }
}
