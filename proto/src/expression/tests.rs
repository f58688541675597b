//! What expressions amount to, and what is none.

use super::*;
use proptest::prelude::*;

/// The values of `a`, `b`, … `t`.
fn value(name: &str) -> Option<Datum> {
    match name {
        "a" => Some(Datum::Int(7)),
        "b" => Some(Datum::Float(2.5)),
        "on" => Some(Datum::Bool(true)),
        "name" => Some(Datum::Text("pump".to_owned())),
        "press-1" => Some(Datum::Int(9)),
        "big" => Some(Datum::UInt(u64::MAX)),
        "row" => Datum::from_json(serde_json::json!([3, 1.5, 2])),
        "batch" => Datum::from_json(serde_json::json!({"id": "B7", "amounts": [1, null]})),
        _ => None,
    }
}

fn result(text: &str) -> Result<Option<Datum>, EvaluateError> {
    let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let names = expression.names().to_vec();
    expression.evaluate(&|place: usize| value(&names[place]))
}

/// The result as JSON; `null` if there is none.
fn json(text: &str) -> String {
    serde_json::to_string(&result(text).unwrap_or_else(|error| panic!("{text}: {error}"))).unwrap()
}

#[test]
fn expressions_amount_to_what_they_say() {
    for (text, expected) in [
        ("1 + 2 * 3 - 4", "3"),
        ("(1 + 2) * 3", "9"),
        ("10 - 2 - 3", "5"),
        ("7 / 2", "3.5"),
        ("6 / 2", "3.0"),
        ("-7 % 3", "-1"),
        ("- - 2", "2"),
        ("a * b", "17.5"),
        ("A", "null"),
        ("\"press-1\" + 1", "10"),
        ("big + 1", "1.8446744073709552e+19"),
        ("big - 1", "18446744073709551614"),
        ("9223372036854775807 + 1", "9223372036854775808"),
        ("1.5e3 + .5", "1500.5"),
        ("a > 5 and b < 3", "true"),
        ("not a > 5 or on", "true"),
        ("on xor true", "false"),
        ("a between 1 and 7", "true"),
        ("a not between 1 and 6", "true"),
        ("a in (1, 7.0)", "true"),
        ("a not in (1, 2)", "true"),
        ("name in ('pump', 'valve')", "true"),
        ("name = 'pump' AND a <> 8", "true"),
        ("name < 'q'", "true"),
        ("1 = '1'", "false"),
        ("2 = 2.0", "true"),
        ("name || '-' || a", "\"pump-7\""),
        ("'it''s'", "\"it's\""),
        ("case when a > 10 then 'high' when a > 5 then 'mid' end", "\"mid\""),
        ("CASE WHEN a > 10 THEN 1 ELSE 0 END", "0"),
        ("if(on, a, b)", "7"),
        ("round(b)", "3"),
        ("round(2.345, 2)", "2.35"),
        ("round(1234.5, -2)", "1200.0"),
        ("floor(-1.5) + ceil(1.2)", "0"),
        ("abs(-3) + abs(-1.5)", "4.5"),
        ("sqrt(a + 2)", "3.0"),
        ("pow(2, 10)", "1024.0"),
        ("min(a, b, 3)", "2.5"),
        ("greatest(a, b)", "7"),
        ("avg(1, 2, 4)", "2.3333333333333335"),
        ("sum(1, 2, b)", "5.5"),
        ("at(row, 1) + at(batch, 'amounts', 0)", "2.5"),
        ("at(batch, 'id') || length(row)", "\"B73\""),
        ("row", "[3,1.5,2]"),
        ("row = row and batch <> row", "true"),
        ("max(row) + min(row) + sum(row, 1) + avg(row)", "14.166666666666666"),
        ("clamp(a, 0, 5)", "5"),
        ("bit(5, 2) and not bit(5, 1)", "true"),
        ("bits(173, 2, 5)", "11"),
        ("bits(-1, 0, 63)", "18446744073709551615"),
        ("number('12') + number(' 0.5 ') + number(on)", "13.5"),
        ("upper(name) || length(name) || text(on)", "\"PUMP4true\""),
        ("contains(name, 'um') and starts_with(trim(' x'), 'x')", "true"),
        ("sign(-2.5)", "-1"),
    ] {
        assert_eq!(json(text), expected, "{text}");
    }
}

#[test]
fn what_has_no_value_spreads_unless_it_is_not_needed() {
    for (text, expected) in [
        ("gone + 1", "null"),
        ("gone > 1", "null"),
        ("-gone", "null"),
        ("abs(gone)", "null"),
        ("not gone", "null"),
        ("gone || 'x'", "null"),
        ("gone between 1 and 2", "null"),
        ("null", "null"),
        ("gone and false", "false"),
        ("gone and true", "null"),
        ("gone or true", "true"),
        ("gone or false", "null"),
        ("gone xor true", "null"),
        ("1 in (gone, 1)", "true"),
        ("1 in (gone, 2)", "null"),
        ("gone is null and a is not null", "true"),
        ("coalesce(gone, a)", "7"),
        ("coalesce(gone, null)", "null"),
        ("if(gone, 1, 2)", "2"),
        ("case when gone then 1 end", "null"),
    ] {
        assert_eq!(json(text), expected, "{text}");
    }
}

#[test]
fn names_are_told_once_and_only_those_that_are_needed_are_asked_for() {
    let expression = Expression::parse("a + \"b c\" * a + max(d.e:f@g)").unwrap();
    assert_eq!(expression.names(), ["a", "b c", "d.e:f@g"]);
    let asked = std::cell::RefCell::new(Vec::new());
    let expression = Expression::parse("coalesce(a, b) > 0 or c").unwrap();
    let names = |place: usize| {
        asked.borrow_mut().push(place);
        Some(Datum::Int(1))
    };
    assert_eq!(expression.evaluate(&names), Ok(Some(Datum::Bool(true))));
    assert_eq!(*asked.borrow(), [0]);
}

#[test]
fn what_is_no_expression_is_refused_with_its_place() {
    for (text, at, reason) in [
        ("", 1, "a value is missing"),
        ("1 +", 4, "a value is missing"),
        ("1 2", 3, "an operator is missing"),
        ("a = b = c", 7, "an operator is missing"),
        ("(1", 3, ") is missing"),
        ("ä + ?", 5, "'?' means nothing here"),
        ("'x", 1, "a text has no closing '"),
        ("\"x", 1, "a name has no closing \""),
        ("12a", 1, "12a is no number"),
        ("1e999", 1, "1e999 is no number"),
        ("case 1 end", 6, "when is missing"),
        ("case when 1 end", 13, "then is missing"),
        ("a not 1", 7, "between or in is missing after not"),
        ("a is 1", 6, "null is missing"),
        ("sqrt(1, 2)", 1, "sqrt takes 1 value, and not 2"),
        ("round()", 1, "round takes 1 to 2 values, and not 0"),
        ("min()", 1, "min takes at least 1 value, and not 0"),
        ("if(on, 1)", 1, "if takes a condition and two values, and not 2"),
        ("1 and", 6, "a value is missing"),
        ("max(1 2)", 7, ", or ) is missing"),
        ("and", 1, "a value is missing"),
    ] {
        let expected = ExpressionError { at, reason: reason.to_owned() };
        assert_eq!(Expression::parse(text), Err(expected), "{text}");
    }
    let unknown = Expression::parse("1 + root(2)").unwrap_err();
    assert!(unknown.reason.starts_with("there is no function root, only abs, at"), "{unknown}");
    assert_eq!(unknown.at, 5);
}

#[test]
fn what_has_no_result_says_why() {
    for (text, expected) in [
        ("1 / 0", "division by zero"),
        ("a % 0", "division by zero"),
        ("b % 0", "division by zero"),
        ("name * 2", "* needs numbers, and not the text \"pump\""),
        ("-name", "- needs numbers, and not the text \"pump\""),
        ("on + 1", "+ needs numbers, and not true"),
        ("a and on", "and needs true or false, and not 7"),
        ("if(1, 2, 3)", "a condition needs true or false, and not 1"),
        ("name > 1", "a comparison needs numbers, and not the text \"pump\""),
        ("sqrt(-1)", "sqrt has no result with these numbers"),
        ("ln(0)", "ln has no result with these numbers"),
        ("pow(10, 999)", "pow has no result with these numbers"),
        ("1e308 * 10", "* has no result with these numbers"),
        ("clamp(1, 3, 2)", "clamp has no result with these numbers"),
        ("bit(b, 1)", "bit needs a whole number, and not 2.5"),
        ("bit(1, 64)", "bit needs bits from 0 to 63, and not 64"),
        ("bits(1, 3, 2)", "bits needs the lower bit first, and not 3"),
        ("round(1, 99)", "round needs -15 to 15 places, and not 99"),
        ("number('x')", "number needs a number in the text, and not the text \"x\""),
        ("upper(1)", "upper needs a text, and not 1"),
        ("at(row, 3)", "there is no 3 in it"),
        ("at(batch, 'amounts', 1)", "there is no 1 in it"),
        ("at(row, 'id')", "at needs a place from 0, and not the text \"id\""),
        ("at(a, 0)", "at needs an array or a structure, and not 7"),
        ("max(batch)", "max needs values, and not a structure"),
        ("row + 1", "+ needs numbers, and not an array of 3 values"),
        ("sum(at(batch, 'amounts'))", "sum needs an array of values, and not an array of 2 values"),
    ] {
        assert_eq!(result(text).unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn length_and_depth_are_bounded() {
    let long = format!("1{}", " ".repeat(EXPRESSION_BYTES_MAX));
    assert!(Expression::parse(&long).unwrap_err().reason.contains("1024 bytes"));
    for open in ["(", "-", "not ", "abs(", "case when true then "] {
        let deep = format!("{}1", open.repeat(DEPTH_MAX + 1));
        let error = Expression::parse(&deep).unwrap_err();
        assert!(error.reason.contains("32 levels"), "{open}: {error}");
    }
    // Long and flat is fine.
    let flat = vec!["1"; 500].join("+");
    assert_eq!(json(&flat), "500");
}

proptest! {
    #[test]
    fn any_text_is_an_expression_or_refused(text in ".{0,80}") {
        if let Ok(expression) = Expression::parse(&text) {
            let _ = expression.evaluate(&|_: usize| Some(Datum::Int(3)));
        }
    }

    #[test]
    fn any_words_are_an_expression_or_refused(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "a", "1", "2.5", "'x'", "(", ")", ",", "+", "-", "*", "/", "%", "<", "=", "||",
                "and", "or", "not", "in", "between", "case", "when", "then", "else", "end", "is",
                "null", "if", "min", "bits", "round", "true",
            ]),
            0..40,
        )
    ) {
        if let Ok(expression) = Expression::parse(&words.join(" ")) {
            let _ = expression.evaluate(&|_: usize| Some(Datum::UInt(u64::MAX)));
        }
    }

    #[test]
    fn whole_numbers_are_exact(left: i64, right: i64) {
        let values = [Datum::Int(left), Datum::Int(right)];
        let expression = Expression::parse("l - r").unwrap();
        let exact = i128::from(left) - i128::from(right);
        let told = expression.evaluate(&|place: usize| Some(values[place].clone())).unwrap();
        match evaluate::from_whole(exact) {
            Some(exact) => prop_assert_eq!(told, Some(exact)),
            None => prop_assert!(matches!(told, Some(Datum::Float(_)))),
        }
    }
}
