//! The tokens of the scripts.

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Word(String),
    Quoted(String),
    Text(String),
    Number(String),
    Symbol(String),
}

pub fn tokenize(sql: &str) -> Vec<Token> {
    let chars: Vec<char> = sql.chars().collect();
    let (mut at, mut tokens) = (0, Vec::new());
    while at < chars.len() {
        let c = chars[at];
        let until = |at: usize, test: fn(char) -> bool| {
            chars[at..].iter().position(|c| !test(*c)).map_or(chars.len(), |length| at + length)
        };
        if c.is_whitespace() {
            at += 1;
        } else if c == '-' && chars.get(at + 1) == Some(&'-') {
            at = until(at, |c| c != '\n');
        } else if c.is_ascii_digit() || (c == '.' && chars.get(at + 1).is_some_and(char::is_ascii_digit)) {
            let mut end = until(at, |c| c.is_ascii_digit() || c == '.');
            if matches!(chars.get(end), Some('e' | 'E')) {
                end += 1;
                if matches!(chars.get(end), Some('-' | '+')) {
                    end += 1;
                }
                end = until(end, |c| c.is_ascii_digit());
            }
            tokens.push(Token::Number(chars[at..end].iter().collect()));
            at = end;
        } else if c.is_alphabetic() || c == '_' {
            let end = until(at, |c| c.is_alphanumeric() || c == '_');
            tokens.push(Token::Word(chars[at..end].iter().collect()));
            at = end;
        } else if c == '\'' || c == '`' {
            let mut text = String::new();
            at += 1;
            while at < chars.len() {
                if chars[at] == c {
                    if chars.get(at + 1) != Some(&c) {
                        break;
                    }
                    at += 1;
                }
                text.push(chars[at]);
                at += 1;
            }
            at += 1;
            tokens.push(if c == '`' { Token::Quoted(text) } else { Token::Text(text) });
        } else {
            let two: String = chars[at..(at + 2).min(chars.len())].iter().collect();
            let symbol = if ["<>", "<=", ">=", "||", "!="].contains(&two.as_str()) { two } else { c.to_string() };
            at += symbol.len();
            tokens.push(Token::Symbol(symbol));
        }
    }
    tokens
}
