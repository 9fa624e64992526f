//! Finds in one source what its room may not import.
//!
//! It reads tokens, not types: comments and texts do not count; macro bodies, attributes and
//! `#[cfg(test)]` modules do.

use std::fmt;

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

use super::{ISOLATED, rank};

#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}", self.file, self.line, self.text)
    }
}

/// Every violation in one source; `file` is its path from `src/`.
pub(crate) fn check(file: &str, text: &str) -> Vec<Violation> {
    let mut module: Vec<String> = file.trim_end_matches(".rs").split('/').map(String::from).collect();
    let room = module[0].clone();
    if module.len() > 1 && module.ends_with(&["mod".to_owned()]) {
        module.pop();
    }
    if matches!(file, "lib.rs" | "main.rs") {
        module.clear();
    }
    let mut scan = Scan { file, room, found: Vec::new() };
    match text.parse::<TokenStream>() {
        Ok(tokens) if file == "lib.rs" => scan.declarations(tokens),
        Ok(tokens) => scan.tokens(tokens, &module),
        Err(error) => scan.report(error.span(), format!("is not Rust: {error}")),
    }
    scan.found
}

/// A walk over the tokens of one file. A `module` is a path from the crate root; the root is empty.
struct Scan<'a> {
    file: &'a str,
    room: String,
    found: Vec<Violation>,
}

impl Scan<'_> {
    fn report(&mut self, at: Span, text: String) {
        self.found.push(Violation { file: self.file.to_owned(), line: at.start().line, text });
    }

    /// Checks that there is nothing but `mod name;` with attributes and visibility.
    fn declarations(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let ends_item = |token: &TokenTree| is_punct(token, ';') || is_group(token, Delimiter::Brace);
        for item in tokens.split_inclusive(ends_item) {
            let mut rest = item;
            while let [hash, more @ ..] = rest
                && is_punct(hash, '#')
            {
                let group = more.iter().position(|token| is_group(token, Delimiter::Bracket));
                rest = &more[group.map_or(0, |at| at + 1)..];
            }
            let declares = item.iter().any(|token| is_ident(token, "mod"))
                && item.last().is_some_and(|token| is_punct(token, ';'));
            if let (false, Some(first)) = (declares, rest.first()) {
                self.report(first.span(), "`lib.rs` only declares modules".to_owned());
            }
        }
    }

    fn tokens(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let [first, more @ ..] = rest {
            rest = match (first, more) {
                (TokenTree::Ident(word), [TokenTree::Ident(name), body, more @ ..]) if word == "mod" => {
                    self.inner_module(name, body, module);
                    more
                }
                (hash, [TokenTree::Group(group), more @ ..])
                    if is_punct(hash, '#') && group.delimiter() == Delimiter::Bracket =>
                {
                    self.attribute(group, module);
                    more
                }
                (TokenTree::Ident(head), _) => match self.base(head, module) {
                    Some(base) => self.path(base, head.span(), more),
                    None => more,
                },
                (TokenTree::Group(group), _) => {
                    self.group(group, module);
                    more
                }
                _ => more,
            };
        }
    }

    fn inner_module(&mut self, name: &Ident, body: &TokenTree, module: &[String]) {
        if let TokenTree::Group(body) = body {
            self.tokens(body.stream(), &[module, &[name.to_string()]].concat());
        } else if self.room == "main" {
            self.report(name.span(), format!("declares `{name}`, but may use `pilotgate::cli` only"));
        }
    }

    fn group(&mut self, group: &Group, module: &[String]) {
        // `pub(in crate::x)` grants access; it imports nothing.
        let grants = group.stream().into_iter().next().is_some_and(|first| is_ident(&first, "in"));
        if !grants {
            self.tokens(group.stream(), module);
        }
    }

    /// An attribute's texts may be paths, as in `#[serde(with = "crate::x")]`; a doc comment's not.
    fn attribute(&mut self, group: &Group, module: &[String]) {
        match group.stream().into_iter().next() {
            Some(name) if is_ident(&name, "doc") => {}
            Some(name) if is_ident(&name, "path") => {
                self.report(name.span(), "`path` attribute: a module lies where its name says".to_owned())
            }
            _ => self.tokens(unquoted(group.stream()), module),
        }
    }

    /// Where a path that begins with `head` starts, if it starts in this crate.
    fn base(&self, head: &Ident, module: &[String]) -> Option<Vec<String>> {
        match head.to_string().as_str() {
            "crate" => Some(Vec::new()),
            "pilotgate" if self.room == "main" => Some(Vec::new()),
            "self" => Some(module.to_vec()),
            "super" => Some(module.split_last().map_or_else(Vec::new, |(_, parent)| parent.to_vec())),
            _ => None,
        }
    }

    /// Follows a path from `base`, whose last word stood at `at`; answers the tokens after it.
    fn path<'t>(&mut self, base: Vec<String>, at: Span, tokens: &'t [TokenTree]) -> &'t [TokenTree] {
        match tokens {
            [colon, second, rest @ ..] if is_punct(colon, ':') && is_punct(second, ':') => self.segment(base, rest),
            // `crate as x`, `extern crate self`
            [next, ..] if base.is_empty() && (is_ident(next, "as") || is_ident(next, "self")) => {
                self.whole_crate(at);
                &tokens[1..]
            }
            _ => tokens,
        }
    }

    fn segment<'t>(&mut self, mut base: Vec<String>, tokens: &'t [TokenTree]) -> &'t [TokenTree] {
        let [first, rest @ ..] = tokens else { return tokens };
        match first {
            TokenTree::Ident(word) if word == "super" => {
                base.pop();
                return self.path(base, word.span(), rest);
            }
            TokenTree::Group(group) => {
                let elements: Vec<TokenTree> = group.stream().into_iter().collect();
                for element in elements.split(|token| is_punct(token, ',')) {
                    self.segment(base.clone(), element);
                }
            }
            _ if !base.is_empty() => {}
            TokenTree::Ident(name) if name != "self" => self.import(name),
            other => self.whole_crate(other.span()),
        }
        rest
    }

    fn whole_crate(&mut self, at: Span) {
        self.report(at, "takes in the whole crate: name the room".to_owned());
    }

    fn import(&mut self, target: &Ident) {
        let name = target.to_string();
        let room = self.room.as_str();
        let text = match (rank(room), rank(&name)) {
            _ if name == room => return,
            _ if room == "main" && name == "cli" => return,
            _ if room == "main" => format!("imports `{name}`, but may use `pilotgate::cli` only"),
            (_, None) => format!("imports `{name}`, which is no room"),
            _ if ISOLATED.contains(&room) => {
                format!("`{room}` imports `{name}`, but may import no other room")
            }
            (Some(own), Some(other)) if other >= own => {
                format!("`{room}` (rank {own}) imports `{name}` (rank {other})")
            }
            _ => return,
        };
        self.report(target.span(), text);
    }
}

/// Turns every text that holds a path of this crate into the tokens of that path.
fn unquoted(tokens: TokenStream) -> TokenStream {
    let path_in = |token: &TokenTree| {
        let text = token.to_string();
        let text = text.trim_matches('"');
        let ours = text.starts_with("crate::") || text.starts_with("super::");
        ours.then(|| text.parse::<TokenStream>().ok()).flatten()
    };
    tokens
        .into_iter()
        .flat_map(|token| match &token {
            TokenTree::Group(group) => TokenTree::Group(Group::new(group.delimiter(), unquoted(group.stream()))).into(),
            TokenTree::Literal(literal) => path_in(&token).map_or_else(
                || token.clone().into(),
                |path| {
                    let at = |mut token: TokenTree| {
                        token.set_span(literal.span());
                        token
                    };
                    path.into_iter().map(at).collect()
                },
            ),
            _ => TokenStream::from(token),
        })
        .collect()
}

fn is_ident(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn is_group(token: &TokenTree, delimiter: Delimiter) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter)
}
