//! Tokens, and a statement's tokens with their text: what the rules are written against.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// An unquoted identifier or keyword.
    Word,
    /// `"…"`.
    QuotedName,
    /// `U&"…"`: a name that may hide its letters behind escapes.
    UnicodeName,
    /// `'…'`, `E'…'` or `$tag$…$tag$`, with all its continuations.
    String,
    /// `U&'…'`.
    UnicodeString,
    /// `B'…'` or `X'…'`.
    BitString,
    /// `1`, `1.`, `.5`, `1e5`, `1_000`, `0x1F`.
    Number,
    /// `$1`.
    Parameter,
    /// An operator, one or more characters of it.
    Operator,
    /// `;`.
    Semicolon,
    /// `,`.
    Comma,
    /// `.`.
    Dot,
    /// `(`.
    Open,
    /// `)`.
    Close,
    /// `[`, `]`, `:`, `::`, `:=` and `..`.
    Punctuation,
    /// A byte that no PostgreSQL statement has outside quotes.
    Other,
}

/// One token: its kind and where it lies in the text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its first byte.
    pub start: u32,
    /// The byte after its last.
    pub end: u32,
}

/// The tokens of one statement, and the text that they lie in.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
}

impl<'a> Tokens<'a> {
    /// A view of `tokens`, which were read from `text`.
    #[must_use]
    pub const fn new(text: &'a [u8], tokens: &'a [Token]) -> Self {
        Self { text, tokens }
    }

    /// The text that the tokens lie in, more than theirs alone.
    #[must_use]
    pub const fn text(&self) -> &'a [u8] {
        self.text
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The tokens of `range`, as far as there are any.
    #[must_use]
    pub fn part(&self, range: std::ops::Range<usize>) -> Self {
        let end = range.end.min(self.tokens.len());
        let tokens = self.tokens.get(range.start..end).unwrap_or_default();
        Self { text: self.text, tokens }
    }

    /// The tokens from `index` on.
    #[must_use]
    pub fn from(&self, index: usize) -> Self {
        self.part(index..self.tokens.len())
    }

    /// The token at `index`.
    #[must_use]
    pub fn token(&self, index: usize) -> Option<Token> {
        self.tokens.get(index).copied()
    }

    /// The kind of the token at `index`.
    #[must_use]
    pub fn kind(&self, index: usize) -> Option<TokenKind> {
        self.tokens.get(index).map(|token| token.kind)
    }

    /// The text of the token at `index`; empty behind the end.
    #[must_use]
    pub fn bytes(&self, index: usize) -> &'a [u8] {
        self.tokens.get(index).map_or(&[], |token| self.slice(*token))
    }

    /// The text of `token`.
    #[must_use]
    pub fn slice(&self, token: Token) -> &'a [u8] {
        self.text.get(token.start as usize..token.end as usize).unwrap_or_default()
    }

    /// Whether the token at `index` is the unquoted word `word`, given in lower case.
    #[must_use]
    pub fn is(&self, index: usize, word: &str) -> bool {
        self.kind(index) == Some(TokenKind::Word)
            && self.bytes(index).eq_ignore_ascii_case(word.as_bytes())
    }

    /// Whether the token at `index` is one of the unquoted `words`.
    #[must_use]
    pub fn is_any(&self, index: usize, words: &[&str]) -> bool {
        self.kind(index) == Some(TokenKind::Word) && {
            let bytes = self.bytes(index);
            words.iter().any(|word| bytes.eq_ignore_ascii_case(word.as_bytes()))
        }
    }

    /// Whether the token at `index` is the operator `operator`.
    #[must_use]
    pub fn is_operator(&self, index: usize, operator: &str) -> bool {
        self.kind(index) == Some(TokenKind::Operator) && self.bytes(index) == operator.as_bytes()
    }

    /// Whether the token at `index` may be a name, keyword or not.
    #[must_use]
    pub fn is_name(&self, index: usize) -> bool {
        matches!(
            self.kind(index),
            Some(TokenKind::Word | TokenKind::QuotedName | TokenKind::UnicodeName)
        )
    }

    /// The name at `index` as PostgreSQL knows it: folded unless quoted, cut to its length.
    ///
    /// `None` when no plain name is there, or one that is not UTF-8 or has `U&` escapes.
    #[must_use]
    pub fn name(&self, index: usize) -> Option<String> {
        let bytes = self.bytes(index);
        let mut name = match self.kind(index)? {
            TokenKind::Word => str::from_utf8(bytes).ok()?.to_ascii_lowercase(),
            TokenKind::QuotedName => {
                let inner = bytes.get(1..bytes.len().checked_sub(1)?)?;
                str::from_utf8(inner).ok()?.replace("\"\"", "\"")
            }
            _ => return None,
        };
        name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
        Some(name)
    }
}

/// PostgreSQL cuts names behind this many bytes.
const NAME_BYTES_MAX: usize = 63;
