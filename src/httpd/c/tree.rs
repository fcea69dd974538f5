//! The directives of the configuration that is read or in force.

use apache_sys as sys;

use super::pool::text;

/// A directive or the begin of a section, as it stands in a file.
#[derive(Debug, Clone, Copy)]
pub struct Directive<'t> {
    /// The file.
    pub file: Option<&'t str>,
    /// The line in the file.
    pub line: u32,
    /// The name; `<VirtualHost` and its like for sections.
    pub name: Option<&'t str>,
    /// The rest of the line.
    pub value: Option<&'t str>,
}

/// Calls `visit` for each directive, with the sections that it stands in, the innermost last.
pub fn walk(mut visit: impl FnMut(Directive<'_>, &[Directive<'_>])) {
    // SAFETY: written when a configuration is read, in the parent's only thread, which this is.
    walk_from(unsafe { sys::ap_conftree }, &mut Vec::new(), &mut visit);
}

fn walk_from<'t>(
    first: *const sys::ap_directive_t,
    sections: &mut Vec<Directive<'t>>,
    visit: &mut impl FnMut(Directive<'t>, &[Directive<'t>]),
) {
    let mut next = first;
    // SAFETY: NULL, or a node of the tree, which lives until another configuration is read.
    while let Some(node) = unsafe { next.as_ref() } {
        // SAFETY: NULL or a string that lives as long as the node.
        let [file, name, value] = [node.filename, node.directive, node.args].map(|raw| unsafe { text(raw) });
        let directive = Directive { file, line: node.line_num.unsigned_abs(), name, value };
        visit(directive, sections);
        sections.push(directive);
        walk_from(node.first_child, sections, visit);
        sections.pop();
        next = node.next;
    }
}
