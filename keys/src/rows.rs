//! Where the rows of the key trees come from and go to: the store, which sees ciphertext alone.

use crate::error::RowsError;

/// Rows that were committed.
pub trait Rows {
    /// The row of this row key.
    ///
    /// # Errors
    /// [`RowsError`] when the store cannot answer. A row that does not exist is no error.
    fn row(&self, row_key: &[u8]) -> Result<Option<Vec<u8>>, RowsError>;

    /// Every row whose row key begins with `n`, in any order.
    ///
    /// # Errors
    /// [`RowsError`] when the store cannot answer.
    fn tree_rows(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), RowsError>;
}

/// A row to write, or to remove when there is no value. All the writes of one answer belong in one atomic batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowWrite {
    /// The row key.
    pub key: Vec<u8>,
    /// The value; `None` removes the row.
    pub value: Option<Vec<u8>>,
}
