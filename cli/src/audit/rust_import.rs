//! Reads the imports and types of Rust that give another name.

use syn::{Item, UseTree};

use super::{aliases::Aliases, rust_expr::Reader};

/// Returns what the imports of a file name, also those at the top of functions.
pub(super) fn aliases<'s>(reader: &Reader<'_, 's>, items: &[Item]) -> Aliases<'s> {
    let mut aliases = Aliases::default();
    for item in items {
        collect(reader, item, &mut aliases);
    }
    aliases
}

fn collect<'s>(reader: &Reader<'_, 's>, item: &Item, into: &mut Aliases<'s>) {
    match item {
        Item::Use(it) => tree(reader, None, &it.tree, into),
        Item::Mod(it) => {
            let items = it.content.iter().flat_map(|(_, items)| items);
            items.for_each(|it| collect(reader, it, into));
        }
        // `type Signer = Hmac<Sha256>`
        Item::Type(it) => {
            if let syn::Type::Path(path) = &*it.ty
                && let Some(last) = path.path.segments.last()
            {
                into.rename(
                    reader.slice(last.ident.span()),
                    reader.slice(it.ident.span()),
                );
            }
        }
        Item::Fn(it) => block(reader, &it.block, into),
        Item::Impl(it) => {
            for item in &it.items {
                if let syn::ImplItem::Fn(it) = item {
                    block(reader, &it.block, into);
                }
            }
        }
        _ => {}
    }
}

fn block<'s>(reader: &Reader<'_, 's>, block: &syn::Block, into: &mut Aliases<'s>) {
    for stmt in &block.stmts {
        if let syn::Stmt::Item(it) = stmt {
            collect(reader, it, into);
        }
    }
}

fn tree<'s>(
    reader: &Reader<'_, 's>,
    module: Option<&'s str>,
    tree_: &UseTree,
    into: &mut Aliases<'s>,
) {
    match tree_ {
        UseTree::Path(it) => tree(reader, Some(reader.slice(it.ident.span())), &it.tree, into),
        UseTree::Name(it) => into.bind(reader.slice(it.ident.span())),
        UseTree::Rename(it) => {
            let name = match (reader.slice(it.ident.span()), module) {
                ("self", Some(module)) => module,
                (name, _) => name,
            };
            into.rename(name, reader.slice(it.rename.span()));
        }
        UseTree::Group(it) => {
            for inner in &it.items {
                tree(reader, module, inner, into);
            }
        }
        UseTree::Glob(_) => {}
    }
}
