//! Tables for spreadsheets: comma-separated values.
//!
//! <https://www.rfc-editor.org/rfc/rfc4180>

/// A table on its way to text.
#[derive(Debug)]
pub(super) struct Csv {
    text: String,
}

impl Csv {
    /// With this header.
    pub(super) fn new(columns: &[&str]) -> Self {
        let mut csv = Self { text: String::new() };
        csv.put(columns);
        csv
    }

    /// One more line.
    pub(super) fn line<const N: usize>(&mut self, cells: [&str; N]) {
        self.put(&cells);
    }

    /// The text.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn put(&mut self, cells: &[&str]) {
        for (at, cell) in cells.iter().enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            put_cell(cell, &mut self.text);
        }
        self.text.push_str("\r\n");
    }
}

/// A cell, in quotes where it must be. One that a spreadsheet would take for a formula begins with
/// `'`: what clients say of themselves must do nothing where it is looked at.
///
/// <https://owasp.org/www-community/attacks/CSV_Injection>
fn put_cell(cell: &str, out: &mut String) {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let guard = if is_formula { "'" } else { "" };
    if !is_formula && !cell.contains([',', '"', '\r', '\n']) {
        return out.push_str(cell);
    }
    for part in ["\"", guard, &cell.replace('"', "\"\""), "\""] {
        out.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be_and_no_formulas() {
        let mut csv = Csv::new(&["a", "b"]);
        csv.line(["plain text", "1"]);
        csv.line(["a, \"b\"", "two\r\nlines"]);
        csv.line(["=HYPERLINK(\"x\")", "+1"]);
        csv.line(["-1", "@x"]);
        csv.line(["\tx", ""]);
        let expected = "a,b\r\n\
                        plain text,1\r\n\
                        \"a, \"\"b\"\"\",\"two\r\nlines\"\r\n\
                        \"'=HYPERLINK(\"\"x\"\")\",\"'+1\"\r\n\
                        \"'-1\",\"'@x\"\r\n\
                        \"'\tx\",\r\n";
        assert_eq!(csv.into_text(), expected);
    }
}
