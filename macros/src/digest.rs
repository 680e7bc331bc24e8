//! What tells a function's code from what it was before it was edited.

use std::fmt::Write;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A digest of tokens, whatever lies between them, and whatever the compiler's version is. FNV-1a.
pub(crate) fn of(tokens: TokenStream) -> u64 {
    let mut digest = Digest(0xcbf2_9ce4_8422_2325);
    digest.add_all(tokens);
    digest.0
}

struct Digest(u64);

impl Write for Digest {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        text.bytes().for_each(|byte| self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Ok(())
    }
}

impl Digest {
    fn add_all(&mut self, tokens: TokenStream) {
        tokens.into_iter().for_each(|token| self.add(token));
    }

    fn add(&mut self, token: TokenTree) {
        // Each with a mark in front that is in none of them, so that `ab` is not `a b`.
        let written = match token {
            TokenTree::Ident(ident) => write!(self, "\0{ident}"),
            TokenTree::Literal(literal) => write!(self, "\u{1}{literal}"),
            TokenTree::Punct(punct) => write!(self, "\u{2}{}", punct.as_char()),
            TokenTree::Group(group) => {
                // What a macro has put around a fragment is not to be seen.
                let marks = match group.delimiter() {
                    Delimiter::None => ["", ""],
                    Delimiter::Parenthesis => ["\u{2}(", "\u{2})"],
                    Delimiter::Brace => ["\u{2}{", "\u{2}}"],
                    Delimiter::Bracket => ["\u{2}[", "\u{2}]"],
                };
                let [opens, closes] = marks;
                let opened = self.write_str(opens);
                self.add_all(group.stream());
                opened.and_then(|()| self.write_str(closes))
            }
        };
        // A digest takes everything.
        let _ = written;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_code(code: &str) -> u64 {
        of(code.parse().unwrap())
    }

    #[test]
    fn the_digest_is_of_the_code_and_not_of_how_it_is_written() {
        assert_eq!(of_code("{ a + f(1) }"), of_code("{\n    // Adds.\n    a+f( 1 )\n}"));
        for other in
            ["{ a + f(2) }", "{ a - f(1) }", "{ a + f[1] }", "{ a + g(1) }", "{ a + f(1); }", "a + f(1)"]
        {
            assert_ne!(of_code("{ a + f(1) }"), of_code(other), "{other}");
        }
        assert_ne!(of_code("a b"), of_code("ab"));
        assert_ne!(of_code("\"a\""), of_code("a"));
        // Results are found by it in stores that there are.
        assert_eq!(of_code("{ a + f(1) }"), 3_005_186_703_463_818_400);
    }
}
