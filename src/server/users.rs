//! Who may sign in: names and SCRAM verifiers, which can be exchanged while serving.

mod entry;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use pgwire::api::auth::sasl::scram::{
    SCRAM_ITERATIONS, ScramSecret, gen_salted_password, random_nonce,
};

pub use self::entry::{BadUser, BadUserReason};

/// The most users that may be listed.
pub const USERS_MAX: usize = 10_000;

/// The most iterations a verifier may ask of a client: about a second of its time.
pub const ITERATIONS_MAX: usize = 1_000_000;

/// The users of this gateway.
///
/// Unknown names are answered with a verifier made up for them: always the same for a name while
/// this value lives, shaped like those of the known ones, and never satisfied.
pub struct Users {
    salts: SaltKey,
    /// Read once a sign-in, written on a reload; the lock is held for the copy of a pointer.
    current: RwLock<Arc<Book>>,
}

impl Users {
    /// Nobody: for when everyone is trusted.
    #[must_use]
    pub fn none() -> Self {
        Self { salts: SaltKey::random(), current: RwLock::default() }
    }

    /// Reads `text`, one user a line: `name:secret` or `"name" "secret"`.
    ///
    /// In the second form, which is that of PgBouncer's `userlist.txt`, a `""` stands for a quote.
    /// Empty lines and those that begin with `#` do not count. A secret is a PostgreSQL verifier
    /// (`SCRAM-SHA-256$…`, as in `pg_authid`) or a plaintext password, which is made into a
    /// verifier here, once: that takes some milliseconds a user.
    ///
    /// # Errors
    /// Every line that cannot be used, by number.
    pub fn parse(text: &str) -> Result<Self, Vec<BadUser>> {
        let users = Self::none();
        users.reload(text)?;
        Ok(users)
    }

    /// As [`Users::parse`], from names and secrets that are apart already; they count as lines.
    ///
    /// # Errors
    /// Every pair that cannot be used, by its place from 1.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Vec<BadUser>> {
        let users = Self::none();
        users.reload_pairs(pairs)?;
        Ok(users)
    }

    /// Reads `text` as [`Users::parse`] does, for the sign-ins to come.
    ///
    /// # Errors
    /// As [`Users::parse`]; the users known before stay.
    pub fn reload(&self, text: &str) -> Result<(), Vec<BadUser>> {
        self.exchange(entry::of_text(text))
    }

    /// As [`Users::reload`], from names and secrets that are apart already.
    ///
    /// # Errors
    /// As [`Users::from_pairs`]; the users known before stay.
    pub fn reload_pairs<'a>(
        &self,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), Vec<BadUser>> {
        self.exchange(entry::of_pairs(pairs))
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.book().verifiers.keys().cloned().collect()
    }

    /// How many users are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.book().verifiers.len()
    }

    /// Whether nobody can sign in by password.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What `user` must know to sign in.
    pub(super) fn credential(&self, user: &str) -> Credential {
        let book = self.book();
        // Made up for the known as well, so that both cost the same time.
        let invented = book.invent(user, &self.salts);
        let known = book.verifiers.get(user);
        Credential { secret: known.unwrap_or(&invented).secret(), is_known: known.is_some() }
    }

    fn book(&self) -> Arc<Book> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn exchange(&self, entries: Vec<Result<entry::Entry, BadUser>>) -> Result<(), Vec<BadUser>> {
        let book = Arc::new(Book::build(entries, &self.salts)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = book;
        Ok(())
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// What one sign-in is checked against.
pub(super) struct Credential {
    /// For pgwire's mechanism.
    pub(super) secret: ScramSecret,
    /// Whether there is such a user; when not, no proof may be accepted.
    pub(super) is_known: bool,
}

/// The users as they were last read.
#[derive(Default)]
struct Book {
    verifiers: HashMap<String, Verifier>,
    /// What each user's verifier shows to anyone who asks, sorted, to invent likely ones.
    shapes: Vec<Shape>,
}

impl Book {
    fn build(
        entries: Vec<Result<entry::Entry, BadUser>>,
        salts: &SaltKey,
    ) -> Result<Self, Vec<BadUser>> {
        let mut verifiers = HashMap::with_capacity(entries.len());
        let mut bad = Vec::new();
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    bad.push(error);
                    continue;
                }
            };
            let line = entry.line;
            if verifiers.contains_key(&entry.name) {
                bad.push(BadUser { line, reason: BadUserReason::Duplicate });
            } else if verifiers.len() == USERS_MAX {
                bad.push(BadUser { line, reason: BadUserReason::TooMany });
                break;
            } else {
                let verifier = match entry.secret {
                    entry::Secret::Verifier(verifier) => verifier,
                    entry::Secret::Password(password) => {
                        Verifier::of_password(&entry.name, &password, salts)
                    }
                };
                verifiers.insert(entry.name, verifier);
            }
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        let mut shapes: Vec<_> = verifiers.values().map(Verifier::shape).collect();
        shapes.sort_unstable();
        Ok(Self { verifiers, shapes })
    }

    /// A verifier for a user who is not there, with the shape of one who is.
    fn invent(&self, user: &str, salts: &SaltKey) -> Verifier {
        let pick = salts.derive(Purpose::Shape, user);
        let pick = pick.iter().take(4).fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let shape = pick
            .checked_rem(self.shapes.len())
            .and_then(|place| self.shapes.get(place))
            .copied()
            .unwrap_or(Shape { iterations: SCRAM_ITERATIONS, salt_len: SALT_BYTES });
        Verifier {
            salt: salts.salt(user, shape.salt_len),
            iterations: shape.iterations,
            stored_key: salts.derive(Purpose::StoredKey, user),
            server_key: salts.derive(Purpose::ServerKey, user),
        }
    }
}

/// What a client sees of a verifier before it has proven anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    iterations: usize,
    salt_len: usize,
}

/// What PostgreSQL keeps of a password.
///
/// <https://www.postgresql.org/docs/current/catalog-pg-authid.html>
struct Verifier {
    salt: Vec<u8>,
    iterations: usize,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

impl Verifier {
    /// Makes the verifier of a plaintext password.
    ///
    /// The salt is the one that the name would have been shown before it was known, so that
    /// neither adding a user nor reading the list again shows who is on it.
    fn of_password(user: &str, password: &str, salts: &SaltKey) -> Self {
        let salt = salts.salt(user, SALT_BYTES);
        let salted = gen_salted_password(password, &salt, SCRAM_ITERATIONS);
        let secret = ScramSecret::verifier_from_salted_password(salt, salted, SCRAM_ITERATIONS);
        match secret {
            ScramSecret::Verifier { salt, iterations, stored_key, server_key } => {
                Self { salt, iterations, stored_key, server_key }
            }
            // The function's result is a verifier; an unusable one would be the safe reading.
            ScramSecret::SaltedPassword { salt, .. } => Self {
                salt,
                iterations: SCRAM_ITERATIONS,
                stored_key: Vec::new(),
                server_key: Vec::new(),
            },
        }
    }

    fn shape(&self) -> Shape {
        Shape { iterations: self.iterations, salt_len: self.salt.len() }
    }

    fn secret(&self) -> ScramSecret {
        ScramSecret::Verifier {
            salt: self.salt.clone(),
            iterations: self.iterations,
            stored_key: self.stored_key.clone(),
            server_key: self.server_key.clone(),
        }
    }
}

/// The key from which salts are derived: 144 random bits, of this process alone.
struct SaltKey(String);

impl SaltKey {
    fn random() -> Self {
        Self(random_nonce())
    }

    fn salt(&self, user: &str, len: usize) -> Vec<u8> {
        let mut salt = self.derive(Purpose::Salt, user);
        if len > salt.len() {
            salt.extend(self.derive(Purpose::SaltEnd, user));
        }
        salt.truncate(len);
        salt
    }

    /// 32 bytes that only this key gives for `user`.
    ///
    /// PBKDF2 of one iteration is one HMAC-SHA-256 under the key, which is ASCII, so `SASLprep`
    /// leaves it as it is.
    fn derive(&self, purpose: Purpose, user: &str) -> Vec<u8> {
        let mut text = vec![purpose as u8];
        text.extend_from_slice(user.as_bytes());
        gen_salted_password(&self.0, &text, 1)
    }
}

/// What derived bytes are for, so that no two uses share them.
#[derive(Clone, Copy)]
enum Purpose {
    Salt,
    SaltEnd,
    Shape,
    StoredKey,
    ServerKey,
}

/// The length of PostgreSQL's own salts, in bytes.
const SALT_BYTES: usize = 16;

#[cfg(test)]
mod tests;
