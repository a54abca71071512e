//! Reads Rust. The one file that knows `syn`; expressions are in `rust_expr.rs`.

use syn::{
    Attribute, Field, FnArg, ImplItem, Item, Signature, TraitItem, Type, parse::Parser as _,
    punctuated::Punctuated,
};

use super::{
    aliases::Aliases,
    rust_expr::Reader,
    rust_import,
    rust_scan::scan,
    span::Span,
    tree::{Act, Arg, Broken, Call, Class, DEPTH, Expr, Function, Kind, Param, Stmt, Tree},
};

/// Reads a file.
pub(super) fn read(text: &str) -> Result<Tree<'_>, Broken> {
    let scan = scan(text);
    if scan.nesting.is_too_deep() {
        return Err(Broken::too_deep());
    }
    let read = parse(text);
    // The places of a file are kept for its thread, until they are given back here.
    proc_macro2::extra::invalidate_current_thread_spans();
    Ok(Tree {
        body: read?,
        comments: scan.comments,
        ..Tree::default()
    })
}

fn parse(text: &str) -> Result<Vec<Stmt<'_>>, Broken> {
    // The parser leaves out a line of `#!`, and counts from behind it.
    let is_script =
        text.starts_with("#!") && !text.trim_start_matches("#!").trim_start().starts_with('[');
    let skipped = if is_script {
        text.find('\n').unwrap_or(text.len())
    } else {
        0
    };
    let none = Aliases::default();
    let mut reader = Reader {
        text,
        skipped,
        aliases: &none,
    };
    let file = syn::parse_file(text.get(skipped..).unwrap_or_default());
    let file = file.map_err(|error| Broken {
        why: error.to_string(),
        at: Some(reader.span_of(error.span())),
    })?;
    let aliases = rust_import::aliases(&reader, &file.items);
    reader.aliases = &aliases;
    let mut body = Vec::new();
    for item in &file.items {
        reader.item(item, None, 0, &mut body);
    }
    Ok(body)
}

impl<'s> Reader<'_, 's> {
    pub(super) fn item(
        &self,
        item: &Item,
        class: Option<&'s str>,
        depth: usize,
        into: &mut Vec<Stmt<'s>>,
    ) {
        if depth >= DEPTH {
            return;
        }
        let depth = depth + 1;
        match item {
            Item::Fn(it) => self.function(&it.attrs, &it.sig, Some(&it.block), class, depth, into),
            Item::Mod(it) => {
                if is_test(&it.attrs) {
                    return;
                }
                for item in it.content.iter().flat_map(|(_, items)| items) {
                    self.item(item, None, depth, into);
                }
            }
            Item::Impl(it) => {
                let name = self.type_name(&it.self_ty);
                for item in &it.items {
                    match item {
                        ImplItem::Fn(it) => {
                            self.function(&it.attrs, &it.sig, Some(&it.block), name, depth, into);
                        }
                        ImplItem::Const(it) => {
                            self.constant(&it.ident, &it.expr, depth, into);
                        }
                        _ => {}
                    }
                }
            }
            Item::Trait(it) => {
                for item in &it.items {
                    if let TraitItem::Fn(it) = item {
                        let block = it.default.as_ref();
                        self.function(&it.attrs, &it.sig, block, None, depth, into);
                    }
                }
            }
            Item::Const(it) => self.constant(&it.ident, &it.expr, depth, into),
            Item::Static(it) => self.constant(&it.ident, &it.expr, depth, into),
            Item::Struct(it) => into.push(self.class(&it.ident, it.fields.iter(), depth)),
            Item::Enum(it) => {
                let fields = it.variants.iter().flat_map(|it| &it.fields);
                into.push(self.class(&it.ident, fields, depth));
            }
            _ => {}
        }
    }

    /// The fields of a type, each behind its attributes.
    fn class<'f>(
        &self,
        ident: &syn::Ident,
        fields: impl Iterator<Item = &'f Field>,
        depth: usize,
    ) -> Stmt<'s> {
        let mut body = Vec::new();
        for field in fields {
            let Some(ident) = &field.ident else { continue };
            body.extend(
                field
                    .attrs
                    .iter()
                    .filter_map(|it| self.attribute(it, depth)),
            );
            let target = self.ident(ident);
            body.push(Stmt {
                span: target.span,
                act: Act::Set {
                    target,
                    value: self.type_(&field.ty, depth),
                    operator: None,
                },
            });
        }
        Stmt {
            span: self.span_of(ident.span()),
            act: Act::Class(Box::new(Class {
                name: self.slice(ident.span()),
                bases: Vec::new(),
                decorators: Vec::new(),
                body,
            })),
        }
    }

    /// `#[arg(long, env = "PORT")]` is `arg(long, env="PORT")`.
    fn attribute(&self, attr: &Attribute, depth: usize) -> Option<Stmt<'s>> {
        let list = attr.meta.require_list().ok()?;
        let parser = Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated;
        let args = parser.parse2(list.tokens.clone()).ok()?;
        let args = args.iter().map(|it| match it {
            syn::Expr::Assign(it) => Arg {
                name: self.expr(&it.left, depth).name(),
                value: self.expr(&it.right, depth),
            },
            it => Arg {
                name: None,
                value: self.expr(it, depth),
            },
        });
        let func = self.path(&list.path);
        let span = func.span.to(self.span_of(list.delimiter.span().close()));
        let call = Call {
            func,
            args: args.collect(),
            is_macro: false,
        };
        let kind = Kind::Call(Box::new(call));
        let act = Act::Do(Expr { span, kind });
        Some(Stmt { span, act })
    }

    fn constant(
        &self,
        ident: &syn::Ident,
        value: &syn::Expr,
        depth: usize,
        into: &mut Vec<Stmt<'s>>,
    ) {
        let target = self.ident(ident);
        let value = self.expr(value, depth);
        into.push(Stmt {
            span: target.span.to(value.span),
            act: Act::Set {
                target,
                value,
                operator: None,
            },
        });
    }

    fn function(
        &self,
        attrs: &[Attribute],
        sig: &Signature,
        block: Option<&syn::Block>,
        class: Option<&'s str>,
        depth: usize,
        into: &mut Vec<Stmt<'s>>,
    ) {
        let Some(block) = block else { return };
        let mut params = Vec::new();
        for input in &sig.inputs {
            params.push(match input {
                FnArg::Receiver(it) => Param {
                    target: self.name_at(it.self_token.span),
                    annotation: None,
                    default: None,
                },
                FnArg::Typed(it) => Param {
                    target: self.pattern(&it.pat, depth),
                    annotation: Some(self.type_(&it.ty, depth)),
                    default: None,
                },
            });
        }
        let start = self.span_of(sig.fn_token.span);
        let span = start.to(self.span_of(block.brace_token.span.close()));
        let mut body = self.block(block, depth);
        returns(&mut body);
        into.push(Stmt {
            span,
            act: Act::Function(Box::new(Function {
                name: self.slice(sig.ident.span()),
                span,
                class,
                params,
                decorators: attrs.iter().map(|it| self.path(it.path())).collect(),
                is_async: sig.asyncness.is_some(),
                is_test: is_test(attrs),
                body,
            })),
        });
    }

    fn type_name(&self, ty: &Type) -> Option<&'s str> {
        match ty {
            Type::Path(it) => Some(self.slice(it.path.segments.last()?.ident.span())),
            _ => None,
        }
    }

    /// `&mut Arc<Mutex<Keys>>` is `Arc[Mutex[Keys]]`.
    pub(super) fn type_(&self, ty: &Type, depth: usize) -> Expr<'s> {
        let nothing = || Expr {
            span: Span { start: 0, end: 0 },
            kind: Kind::Many(Vec::new()),
        };
        if depth >= DEPTH {
            return nothing();
        }
        match ty {
            Type::Reference(it) => self.type_(&it.elem, depth + 1),
            Type::Paren(it) => self.type_(&it.elem, depth + 1),
            Type::Group(it) => self.type_(&it.elem, depth + 1),
            Type::Tuple(it) => Expr {
                span: self.span_of(it.paren_token.span.join()),
                kind: Kind::Many(
                    it.elems
                        .iter()
                        .map(|it| self.type_(it, depth + 1))
                        .collect(),
                ),
            },
            Type::Path(it) => {
                let mut made = self.path(&it.path);
                if let Some(last) = it.path.segments.last()
                    && let syn::PathArguments::AngleBracketed(args) = &last.arguments
                {
                    for arg in &args.args {
                        if let syn::GenericArgument::Type(ty) = arg {
                            let inner = self.type_(ty, depth + 1);
                            let span = made.span.to(inner.span);
                            let kind = Kind::Index(Box::new([made, inner]));
                            made = Expr { span, kind };
                        }
                    }
                }
                made
            }
            _ => nothing(),
        }
    }

    pub(super) fn ident(&self, ident: &syn::Ident) -> Expr<'s> {
        self.name_at(ident.span())
    }
}

/// The value of a function's last expression is its return value.
fn returns(body: &mut [Stmt<'_>]) {
    let Some(last) = body.last_mut() else { return };
    match &mut last.act {
        Act::Yield(_) => {
            let act = std::mem::replace(&mut last.act, Act::Leave);
            if let Act::Yield(value) = act {
                last.act = Act::Return(Some(value));
            }
        }
        Act::If {
            body, otherwise, ..
        } => {
            returns(body);
            returns(otherwise);
        }
        Act::Match { arms, .. } => arms.iter_mut().for_each(|(_, body)| returns(body)),
        _ => {}
    }
}

fn is_test(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let path = attr.path();
        let last = path.segments.last();
        if last.is_some_and(|it| it.ident == "test") {
            return true;
        }
        let syn::Meta::List(list) = &attr.meta else {
            return false;
        };
        path.is_ident("cfg")
            && list
                .tokens
                .clone()
                .into_iter()
                .any(|it| it.to_string() == "test")
    })
}
