#ifndef NNSTORE_CSQLITE_SHIM_H
#define NNSTORE_CSQLITE_SHIM_H

#include <sqlite3.h>
#include <stddef.h>

/// `sqlite3_db_config` is variadic, which Swift does not import; this is its form for switches.
static inline int nnstore_sqlite_db_config(sqlite3 *database, int option, int value) {
    return sqlite3_db_config(database, option, value, (int *)NULL);
}

/// `SQLITE_TRANSIENT` is a cast in a macro, which Swift does not import. An empty value may come without an address,
/// which SQLite would take for NULL.
static inline int nnstore_sqlite_bind_text(sqlite3_stmt *statement, int index, const char *text, sqlite3_uint64 size) {
    return sqlite3_bind_text64(statement, index, text ? text : "", size, SQLITE_TRANSIENT, SQLITE_UTF8);
}

static inline int nnstore_sqlite_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, sqlite3_uint64 size) {
    return sqlite3_bind_blob64(statement, index, bytes ? bytes : "", size, SQLITE_TRANSIENT);
}

/// Composed in a macro, which Swift does not import.
static const int nnstore_sqlite_ioerr_short_read = SQLITE_IOERR_SHORT_READ;

#endif
