//! The names of a session: one catalog, `default_catalog`, with databases of tables and views.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use sqlparser::ast::{Ident, Query};
use tidemill_common::suggest::nearest;

use crate::ast::TableName;
use crate::diagnostic::SqlError;
use crate::table::Table;

/// The one catalog.
pub const DEFAULT_CATALOG: &str = "default_catalog";
/// The database a session begins in.
pub const DEFAULT_DATABASE: &str = "default_database";

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Relation {
    Table(Rc<Table>),
    View(View),
}

/// A query under a name. It is bound again at each use.
#[derive(Clone, Debug)]
pub struct View {
    pub query: Rc<Query>,
    pub columns: Vec<String>,
    /// Where plain names in the query are looked up.
    pub database: String,
    /// Text of the query.
    pub text: String,
    pub comment: Option<String>,
}

/// Where a table or view is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    pub database: String,
    pub name: String,
}

impl Path {
    /// As people write it: without what is the default.
    pub fn short(&self) -> String {
        if self.database == DEFAULT_DATABASE { self.name.clone() } else { format!("{}.{}", self.database, self.name) }
    }

    /// Quoted, with catalog and database.
    pub fn quoted(&self) -> String {
        format!("`{DEFAULT_CATALOG}`.{}.{}", quoted(&self.database), quoted(&self.name))
    }
}

/// A name in back quotes.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// All names, case-sensitive. Temporary objects hide others of the same name.
#[derive(Clone, Debug)]
pub struct Catalog {
    databases: BTreeSet<String>,
    permanent: BTreeMap<Path, Relation>,
    temporary: BTreeMap<Path, Relation>,
    /// Where plain names are looked up.
    pub database: String,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            databases: BTreeSet::from([DEFAULT_DATABASE.to_owned()]),
            permanent: BTreeMap::new(),
            temporary: BTreeMap::new(),
            database: DEFAULT_DATABASE.to_owned(),
        }
    }
}

impl Catalog {
    /// The full name of a table or view, seen from `database`.
    pub fn path(&self, name: &TableName, database: &str) -> Result<Path, SqlError> {
        let (database, name) = match name.parts.as_slice() {
            [name] => return Ok(Path { database: database.to_owned(), name: name.value.clone() }),
            [database, name] => (database, name),
            [catalog, database, name] => {
                check_catalog(catalog)?;
                (database, name)
            }
            _ => return Err(SqlError::at(name.span(), "expected [[catalog.]database.]name")),
        };
        self.check_database(database)?;
        Ok(Path { database: database.value.clone(), name: name.value.clone() })
    }

    /// The name of a database, of one or two parts.
    pub fn database_of(&self, name: &TableName) -> Result<Ident, SqlError> {
        match name.parts.as_slice() {
            [database] => Ok(database.clone()),
            [catalog, database] => check_catalog(catalog).map(|()| database.clone()),
            _ => Err(SqlError::at(name.span(), "expected [catalog.]database")),
        }
    }

    /// Fails unless there is such a database.
    pub fn check_database(&self, name: &Ident) -> Result<(), SqlError> {
        if self.databases.contains(&name.value) {
            return Ok(());
        }
        let near = nearest(&name.value, self.databases.iter().map(String::as_str));
        let error = SqlError::at(name.span, format!("unknown database '{}'", name.value));
        Err(match near {
            Some(_) => error.with_suggestion(near),
            None => error.with_hint(format!("write CREATE DATABASE {} before it", name.value)),
        })
    }

    /// What this name stands for.
    pub fn get(&self, path: &Path) -> Option<&Relation> {
        self.temporary.get(path).or_else(|| self.permanent.get(path))
    }

    /// What this name stands for among temporary, or among other objects.
    pub fn get_in(&self, path: &Path, temporary: bool) -> Option<&Relation> {
        if temporary { self.temporary.get(path) } else { self.permanent.get(path) }
    }

    /// Whether the name stands for something temporary.
    pub fn is_temporary(&self, path: &Path) -> bool {
        self.temporary.contains_key(path)
    }

    /// Adds a name, or replaces what it stands for.
    pub fn insert(&mut self, path: Path, temporary: bool, relation: Relation) {
        if temporary {
            self.temporary.insert(path, relation)
        } else {
            self.permanent.insert(path, relation)
        };
    }

    /// Takes a name away.
    pub fn remove(&mut self, path: &Path, temporary: bool) -> Option<Relation> {
        if temporary { self.temporary.remove(path) } else { self.permanent.remove(path) }
    }

    /// Adds a database; false if there is one.
    pub fn create_database(&mut self, name: &str) -> bool {
        self.databases.insert(name.to_owned())
    }

    /// Takes a database away, with all that is in it.
    pub fn drop_database(&mut self, name: &str) {
        self.databases.remove(name);
        self.permanent.retain(|path, _| path.database != name);
        self.temporary.retain(|path, _| path.database != name);
    }

    /// All databases.
    pub fn databases(&self) -> impl Iterator<Item = &str> {
        self.databases.iter().map(String::as_str)
    }

    /// The names in a database and what they stand for, each once.
    pub fn relations(&self, database: &str) -> BTreeMap<&str, &Relation> {
        let all = self.permanent.iter().chain(&self.temporary);
        all.filter(|(path, _)| path.database == database)
            .map(|(path, relation)| (path.name.as_str(), relation))
            .collect()
    }

    /// Names that someone in `database` may have meant.
    pub fn names(&self, database: &str) -> impl Iterator<Item = &str> {
        let all = self.permanent.keys().chain(self.temporary.keys());
        let database = database.to_owned();
        all.filter(move |path| path.database == database).map(|path| path.name.as_str())
    }

    /// All tables and views.
    pub fn all(&mut self) -> impl Iterator<Item = &mut Relation> {
        self.permanent.values_mut().chain(self.temporary.values_mut())
    }
}

/// Fails unless this is the one catalog.
pub fn check_catalog(name: &Ident) -> Result<(), SqlError> {
    if name.value == DEFAULT_CATALOG {
        return Ok(());
    }
    let error = SqlError::at(name.span, format!("unknown catalog '{}'", name.value));
    Err(match nearest(&name.value, [DEFAULT_CATALOG]) {
        Some(near) => error.with_suggestion(Some(near)),
        None => error.with_hint(format!("there is one catalog, {DEFAULT_CATALOG}; leave the catalog out")),
    })
}
