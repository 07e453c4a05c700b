//! The mutants of a file, and the places at which their switches stand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, BinOp, Block, Expr, ImplItemFn, ItemFn, Pat, Signature, TraitItemFn, UnOp};

use crate::campaign::hash;
use crate::values;

/// What kind of change a mutant is; the names of cargo-mutants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Genre {
    /// A function's body becomes a value.
    FnValue,
    /// One binary operator becomes another.
    BinaryOperator,
    /// `!` or `-` is left out.
    UnaryOperator,
    /// An arm of a match with a catch-all arm is left out.
    MatchArm,
    /// An arm's guard becomes `true` or `false`.
    MatchArmGuard,
    /// A field of a struct expression with a base is left out.
    StructField,
}

/// Why no switch can stand for a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// It is in code that the compiler evaluates.
    Constant,
    /// It would not compile: an operator of a chain with `let`, or an arm of a match without another
    /// that catches all.
    Unviable,
}

/// One change of the source.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// The source file, from the root of the repository.
    pub file: String,
    /// The function that it is in, with what surrounds it.
    pub function: String,
    /// What kind of change it is.
    pub genre: Genre,
    /// The bytes of the source that it replaces.
    pub span: Range<usize>,
    /// Line and column, from 1, of the first byte.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// What stands there instead.
    pub replacement: String,
    /// The change in words.
    pub change: String,
    /// Its name, which does not depend on lines.
    pub key: String,
    /// Of the text of its function, or of the file where it is in none: without it a result says nothing.
    pub context: u64,
    /// Whether a switch cannot stand for it.
    pub fixed: Option<Fixed>,
}

/// How a switch is written.
#[derive(Clone, Debug)]
pub enum Form {
    /// Copies of an expression.
    Copies,
    /// Early returns at the head of a body; the flag tells an `impl Iterator`.
    Head { opaque: bool },
    /// A guard of an arm that has none.
    Arm,
    /// Another text, whichever mutant is active: a constant that became a function, or its use.
    Text(String),
}

/// A place in a file where one of several mutants can be switched on.
#[derive(Clone, Debug)]
pub struct Site {
    /// The bytes of the source that it covers.
    pub range: Range<usize>,
    /// How it is written.
    pub form: Form,
    /// Its mutants, as numbers in the file's list.
    pub mutants: Vec<usize>,
}

/// What one file has.
#[derive(Debug, Default)]
pub struct Found {
    /// All mutants, in the order of the source.
    pub mutants: Vec<Mutant>,
    /// The places of their switches.
    pub sites: Vec<Site>,
    /// Modules declared in the file: names, from the file's own module.
    pub modules: Vec<Vec<String>>,
}

/// Reads a file; `functions` are the names of constants that become functions in the copy.
pub fn find(file: &str, source: &str, functions: &Convertible) -> Result<Found, String> {
    let syntax = syn::parse_file(source).map_err(|error| format!("{file}: {error}"))?;
    let mut visitor = Visitor {
        file,
        source,
        converted: &functions.names,
        found: Found::default(),
        space: Vec::new(),
        modules: Vec::new(),
        functions: Vec::new(),
        contexts: vec![hash(source)],
        tree: None,
        constant: 0,
        seen: HashMap::new(),
    };
    visitor.visit_file(&syntax);
    let mut found = visitor.found;
    for (range, name) in functions.uses.get(file).into_iter().flatten() {
        let form = Form::Text(format!("{name}()"));
        found.sites.push(Site {
            range: range.clone(),
            form,
            mutants: Vec::new(),
        });
    }
    Ok(found)
}

struct Visitor<'s> {
    file: &'s str,
    source: &'s str,
    converted: &'s BTreeSet<String>,
    found: Found,
    space: Vec<String>,
    modules: Vec<String>,
    functions: Vec<String>,
    contexts: Vec<u64>,
    /// The place of the expression that is being read.
    tree: Option<usize>,
    /// How many constants surround what is read.
    constant: usize,
    seen: HashMap<String, usize>,
}

fn text(tokens: &impl ToTokens) -> String {
    tokens.to_token_stream().to_string()
}

fn bytes(spanned: &impl Spanned) -> Range<usize> {
    spanned.span().byte_range()
}

/// `cfg(test)`, `test` or `mutants::skip`.
fn left_out(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        let names: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if names == ["cfg"] {
            let mut of_tests = false;
            let read = attribute.parse_nested_meta(|meta| {
                of_tests |= meta.path.is_ident("test");
                Ok(())
            });
            return read.is_ok() && of_tests;
        }
        names.last().is_some_and(|last| last == "test") || names == ["mutants", "skip"]
    })
}

fn replacements(op: &BinOp) -> &'static [&'static str] {
    match op {
        BinOp::Eq(_) => &["!="],
        BinOp::Ne(_) => &["=="],
        BinOp::And(_) => &["||"],
        BinOp::Or(_) => &["&&"],
        BinOp::Lt(_) => &["==", ">", "<="],
        BinOp::Gt(_) => &["==", "<", ">="],
        BinOp::Le(_) => &[">"],
        BinOp::Ge(_) => &["<"],
        BinOp::Add(_) => &["-", "*"],
        BinOp::AddAssign(_) => &["-=", "*="],
        BinOp::Sub(_) | BinOp::Mul(_) => &["+", "/"],
        BinOp::SubAssign(_) | BinOp::MulAssign(_) => &["+=", "/="],
        BinOp::Div(_) => &["%", "*"],
        BinOp::DivAssign(_) => &["%=", "*="],
        BinOp::Rem(_) => &["/", "+"],
        BinOp::RemAssign(_) => &["/=", "+="],
        BinOp::Shl(_) => &[">>"],
        BinOp::ShlAssign(_) => &[">>="],
        BinOp::Shr(_) => &["<<"],
        BinOp::ShrAssign(_) => &["<<="],
        BinOp::BitAnd(_) => &["|", "^"],
        BinOp::BitAndAssign(_) => &["|="],
        BinOp::BitOr(_) => &["&", "^"],
        BinOp::BitOrAssign(_) => &["&="],
        BinOp::BitXor(_) => &["|", "&"],
        BinOp::BitXorAssign(_) => &["|=", "&="],
        _ => &[],
    }
}

/// Whether a chain of `&&` has a `let` in it.
fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) => {
            matches!(binary.op, BinOp::And(_)) && (has_let(&binary.left) || has_let(&binary.right))
        }
        _ => false,
    }
}

/// Whether an expression is made of nothing but literals.
fn is_literal(expression: &Expr) -> bool {
    match expression {
        Expr::Lit(_) => true,
        Expr::Array(array) => array.elems.iter().all(is_literal),
        Expr::Binary(binary) => is_literal(&binary.left) && is_literal(&binary.right),
        Expr::Paren(inner) => is_literal(&inner.expr),
        Expr::Tuple(tuple) => tuple.elems.iter().all(is_literal),
        Expr::Unary(unary) => is_literal(&unary.expr),
        _ => false,
    }
}

/// Whether copies of an expression end here: what has statements of its own is switched inside.
fn has_statements(expression: &Expr) -> bool {
    matches!(
        expression,
        Expr::Async(_)
            | Expr::Block(_)
            | Expr::Closure(_)
            | Expr::ForLoop(_)
            | Expr::If(_)
            | Expr::Loop(_)
            | Expr::Match(_)
            | Expr::Unsafe(_)
            | Expr::While(_)
    )
}

impl Visitor<'_> {
    fn add(
        &mut self,
        genre: Genre,
        span: Range<usize>,
        replacement: &str,
        change: String,
        fixed: Option<Fixed>,
    ) -> usize {
        let function = self.functions.last().cloned().unwrap_or_default();
        let before = &self.source[..span.start];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let stem = format!("{}|{function}|{change}", self.file);
        let count = self.seen.entry(stem.clone()).or_insert(0);
        *count += 1;
        let key = format!("{stem}|{count}");
        let fixed = if self.constant > 0 {
            Some(Fixed::Constant)
        } else {
            fixed
        };
        self.found.mutants.push(Mutant {
            file: self.file.to_owned(),
            function,
            genre,
            span,
            line,
            column,
            replacement: replacement.to_owned(),
            change,
            key,
            context: self.contexts.last().copied().unwrap_or_default(),
            fixed,
        });
        self.found.mutants.len() - 1
    }

    fn site(&mut self, range: Range<usize>, form: Form, mutants: Vec<usize>) -> usize {
        self.found.sites.push(Site {
            range,
            form,
            mutants,
        });
        self.found.sites.len() - 1
    }

    /// Adds mutants to the expression that is being read, or to a new one that starts here; tells
    /// whether it is new.
    fn open(&mut self, range: Range<usize>, mutants: Vec<usize>) -> bool {
        let mutants: Vec<usize> = mutants
            .into_iter()
            .filter(|m| self.found.mutants[*m].fixed.is_none())
            .collect();
        if mutants.is_empty() {
            return false;
        }
        if let Some(tree) = self.tree {
            self.found.sites[tree].mutants.extend(mutants);
            return false;
        }
        self.tree = Some(self.site(range, Form::Copies, mutants));
        true
    }

    fn close(&mut self, opened: bool) {
        if opened {
            self.tree = None;
        }
    }

    fn function(&mut self, signature: &Signature, block: &Block, inside: impl FnOnce(&mut Self)) {
        let tree = self.tree.take();
        self.space.push(signature.ident.to_string());
        self.functions.push(self.space.join("::"));
        let body = text(block);
        self.contexts.push(hash(&body));
        let constant = usize::from(signature.constness.is_some());
        let outer = std::mem::replace(&mut self.constant, constant);
        let mut heads = Vec::new();
        if let (Some(first), Some(last)) = (block.stmts.first(), block.stmts.last()) {
            let span = bytes(first).start..bytes(last).end;
            for value in values::of_return(&signature.output) {
                let same = syn::parse_str::<Block>(&format!("{{ {value} }}"))
                    .is_ok_and(|new| text(&new) == body);
                if !same {
                    let change = format!("replace body with {value}");
                    heads.push(self.add(Genre::FnValue, span.clone(), &value, change, None));
                }
            }
            heads.retain(|m| self.found.mutants[*m].fixed.is_none());
            if !heads.is_empty() {
                let open = block.brace_token.span.open().byte_range().end;
                let close = block.brace_token.span.close().byte_range().start;
                let opaque = values::is_opaque(&signature.output);
                self.site(open..close, Form::Head { opaque }, heads);
            }
        }
        inside(self);
        self.constant = outer;
        self.contexts.pop();
        self.functions.pop();
        self.space.pop();
        self.tree = tree;
    }

    fn in_constant(&mut self, inside: impl FnOnce(&mut Self)) {
        self.constant += 1;
        inside(self);
        self.constant -= 1;
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if left_out(&item.attrs) {
            return;
        }
        self.space.push(item.ident.to_string());
        self.modules.push(item.ident.to_string());
        if item.content.is_none() {
            self.found.modules.push(self.modules.clone());
        }
        visit::visit_item_mod(self, item);
        self.modules.pop();
        self.space.pop();
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if item.sig.unsafety.is_none() && !left_out(&item.attrs) && !item.block.stmts.is_empty() {
            self.function(&item.sig, &item.block, |v| visit::visit_item_fn(v, item));
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if item.sig.unsafety.is_none()
            && !left_out(&item.attrs)
            && item.sig.ident != "new"
            && !item.block.stmts.is_empty()
        {
            self.function(&item.sig, &item.block, |v| {
                visit::visit_impl_item_fn(v, item)
            });
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if item.sig.unsafety.is_some() || left_out(&item.attrs) || item.sig.ident == "new" {
            return;
        }
        if let Some(block) = item
            .default
            .as_ref()
            .filter(|block| !block.stmts.is_empty())
        {
            self.function(&item.sig, block, |v| visit::visit_trait_item_fn(v, item));
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if left_out(&item.attrs) {
            return;
        }
        let of = text(&item.self_ty).replace(' ', "");
        let name = match &item.trait_ {
            Some((_, path, _)) => {
                if path
                    .segments
                    .last()
                    .is_some_and(|last| last.ident == "Default")
                {
                    return;
                }
                format!("<impl {} for {of}>", text(path).replace(' ', ""))
            }
            None => of,
        };
        self.space.push(name);
        visit::visit_item_impl(self, item);
        self.space.pop();
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        if left_out(&item.attrs) {
            return;
        }
        self.space.push(item.ident.to_string());
        visit::visit_item_trait(self, item);
        self.space.pop();
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        if self.converted.contains(&item.ident.to_string()) {
            let constant = std::mem::take(&mut self.constant);
            let tree = self.tree.take();
            for (range, text) in [
                (bytes(&item.const_token), "fn"),
                (bytes(&item.colon_token), "() ->"),
                (bytes(&item.eq_token), "{"),
            ] {
                self.site(range, Form::Text(text.into()), Vec::new());
            }
            visit::visit_item_const(self, item);
            self.site(bytes(&item.semi_token), Form::Text("}".into()), Vec::new());
            self.tree = tree;
            self.constant = constant;
            return;
        }
        self.in_constant(|v| visit::visit_item_const(v, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.in_constant(|v| visit::visit_impl_item_const(v, item));
    }

    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        self.in_constant(|v| visit::visit_trait_item_const(v, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.in_constant(|v| visit::visit_item_static(v, item));
    }

    fn visit_variant(&mut self, item: &'ast syn::Variant) {
        self.in_constant(|v| visit::visit_variant(v, item));
    }

    fn visit_type(&mut self, item: &'ast syn::Type) {
        self.in_constant(|v| visit::visit_type(v, item));
    }

    fn visit_generic_argument(&mut self, item: &'ast syn::GenericArgument) {
        self.in_constant(|v| visit::visit_generic_argument(v, item));
    }

    fn visit_pat(&mut self, item: &'ast Pat) {
        self.in_constant(|v| visit::visit_pat(v, item));
    }

    fn visit_expr_const(&mut self, item: &'ast syn::ExprConst) {
        self.in_constant(|v| visit::visit_expr_const(v, item));
    }

    fn visit_expr_closure(&mut self, item: &'ast syn::ExprClosure) {
        // Its body runs later, in a constant too.
        let constant = std::mem::take(&mut self.constant);
        visit::visit_expr_closure(self, item);
        self.constant = constant;
    }

    fn visit_expr_repeat(&mut self, item: &'ast syn::ExprRepeat) {
        self.visit_expr(&item.expr);
        self.in_constant(|v| v.visit_expr(&item.len));
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        if has_statements(expression) {
            let tree = self.tree.take();
            visit::visit_expr(self, expression);
            self.tree = tree;
        } else {
            visit::visit_expr(self, expression);
        }
    }

    fn visit_expr_reference(&mut self, item: &'ast syn::ExprReference) {
        // A constant that is borrowed has to stay one: it is copied whole.
        let opened = self.tree.is_none() && self.constant == 0 && is_literal(&item.expr);
        if opened {
            self.tree = Some(self.site(bytes(item), Form::Copies, Vec::new()));
        }
        visit::visit_expr_reference(self, item);
        self.close(opened);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        let reserves = matches!(&*call.func, Expr::Path(path)
            if path.path.segments.last().is_some_and(|last| last.ident == "with_capacity"));
        if !left_out(&call.attrs) && !reserves {
            visit::visit_expr_call(self, call);
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if !left_out(&call.attrs) && call.method != "with_capacity" {
            visit::visit_expr_method_call(self, call);
        }
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        if left_out(&binary.attrs) {
            return;
        }
        let chain =
            matches!(binary.op, BinOp::And(_)) && (has_let(&binary.left) || has_let(&binary.right));
        let old = text(&binary.op);
        let mutants = replacements(&binary.op)
            .iter()
            .map(|new| {
                let fixed = chain.then_some(Fixed::Unviable);
                let change = format!("replace {old} with {new}");
                self.add(Genre::BinaryOperator, bytes(&binary.op), new, change, fixed)
            })
            .collect();
        let opened = self.open(bytes(binary), mutants);
        visit::visit_expr_binary(self, binary);
        self.close(opened);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        if left_out(&unary.attrs) {
            return;
        }
        let mut mutants = Vec::new();
        if matches!(unary.op, UnOp::Not(_) | UnOp::Neg(_)) {
            let change = format!("delete {}", text(&unary.op));
            mutants.push(self.add(Genre::UnaryOperator, bytes(&unary.op), "", change, None));
        }
        let opened = self.open(bytes(unary), mutants);
        visit::visit_expr_unary(self, unary);
        self.close(opened);
    }

    fn visit_expr_match(&mut self, item: &'ast syn::ExprMatch) {
        if left_out(&item.attrs) {
            return;
        }
        self.visit_expr(&item.expr);
        let has_catch_all = item.arms.iter().any(|arm| matches!(arm.pat, Pat::Wild(_)));
        let catches_all = item
            .arms
            .iter()
            .any(|arm| matches!(arm.pat, Pat::Wild(_)) && arm.guard.is_none());
        for arm in &item.arms {
            self.visit_pat(&arm.pat);
            match &arm.guard {
                Some((_, guard)) => {
                    let shown = self.source[bytes(guard)]
                        .split_whitespace()
                        .collect::<Vec<_>>();
                    let shown = shown.join(" ");
                    let mutants = ["true", "false"]
                        .map(|new| {
                            let change = format!("replace match guard {shown} with {new}");
                            self.add(Genre::MatchArmGuard, bytes(guard), new, change, None)
                        })
                        .to_vec();
                    let opened = self.open(bytes(guard), mutants);
                    self.visit_expr(guard);
                    self.close(opened);
                }
                None if has_catch_all && !matches!(arm.pat, Pat::Wild(_)) => {
                    let pattern = text(&arm.pat)
                        .split_whitespace()
                        .collect::<Vec<_>>()
                        .join(" ");
                    let change = format!("delete match arm {pattern}");
                    let fixed = (!catches_all).then_some(Fixed::Unviable);
                    let mutant = self.add(Genre::MatchArm, bytes(arm), "", change, fixed);
                    if self.found.mutants[mutant].fixed.is_none() {
                        let end = bytes(&arm.pat).end;
                        self.site(end..end, Form::Arm, vec![mutant]);
                    }
                }
                None => {}
            }
            self.visit_expr(&arm.body);
        }
    }

    fn visit_arm(&mut self, _: &'ast syn::Arm) {}

    fn visit_expr_struct(&mut self, item: &'ast syn::ExprStruct) {
        if left_out(&item.attrs) {
            return;
        }
        let mut mutants = Vec::new();
        if item.rest.is_some() {
            for pair in item.fields.pairs() {
                if let syn::Member::Named(name) = &pair.value().member {
                    let start = bytes(pair.value()).start;
                    let end = pair
                        .punct()
                        .map_or(bytes(pair.value()).end, |comma| bytes(*comma).end);
                    let of = text(&item.path).replace(' ', "");
                    let change = format!("delete field {name} from struct {of}");
                    mutants.push(self.add(Genre::StructField, start..end, "", change, None));
                }
            }
        }
        let opened = self.open(bytes(item), mutants);
        visit::visit_expr_struct(self, item);
        self.close(opened);
    }
}

/// Constants that become functions in the copy, so that their mutants can be switched.
#[derive(Debug, Default)]
pub struct Convertible {
    /// Their names.
    names: BTreeSet<String>,
    /// By file, where they are used.
    uses: BTreeMap<String, Vec<(Range<usize>, String)>>,
}

/// The constants that can become functions: private ones of a plain type whose every use in the
/// crate is in an expression that is evaluated when it is reached.
pub fn convertible(sources: &[(String, String)]) -> Result<Convertible, String> {
    let mut uses = Uses::default();
    for (file, source) in sources {
        let syntax = syn::parse_file(source).map_err(|error| format!("{file}: {error}"))?;
        uses.file.clone_from(file);
        uses.visit_file(&syntax);
        let tokens = source.parse().map_err(|error| format!("{file}: {error}"))?;
        count_words(tokens, &mut uses.words);
    }
    let Uses {
        words,
        with_operators,
        good,
        mut found,
        ..
    } = uses;
    let names: BTreeSet<String> = with_operators
        .into_iter()
        .filter(|name| words.get(name) == good.get(name))
        .collect();
    for uses in found.values_mut() {
        uses.retain(|(_, name)| names.contains(name));
    }
    Ok(Convertible { names, uses: found })
}

#[derive(Default)]
struct Uses {
    file: String,
    constant: usize,
    /// How often every word is written.
    words: BTreeMap<String, usize>,
    /// Constants that have mutants.
    with_operators: BTreeSet<String>,
    /// How many definitions, imports and uses can be rewritten.
    good: BTreeMap<String, usize>,
    found: BTreeMap<String, Vec<(Range<usize>, String)>>,
}

fn count_words(tokens: TokenStream, words: &mut BTreeMap<String, usize>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => count_words(group.stream(), words),
            TokenTree::Ident(word) => *words.entry(word.to_string()).or_insert(0) += 1,
            _ => {}
        }
    }
}

impl Uses {
    fn good(&mut self, name: String) {
        *self.good.entry(name).or_insert(0) += 1;
    }

    fn in_constant(&mut self, constant: usize, inside: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.constant, constant);
        inside(self);
        self.constant = outer;
    }
}

impl<'ast> Visit<'ast> for Uses {
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        let is_plain =
            matches!(&*item.ty, syn::Type::Path(path) if path.path.get_ident().is_some());
        let is_public = matches!(item.vis, syn::Visibility::Public(_));
        if is_plain && !is_public && item.ident != "_" {
            if matches!(&*item.expr, Expr::Binary(_) | Expr::Unary(_)) {
                self.with_operators.insert(item.ident.to_string());
            }
            self.good(item.ident.to_string());
        }
        self.in_constant(1, |v| visit::visit_item_const(v, item));
    }
    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.in_constant(1, |v| visit::visit_impl_item_const(v, item));
    }
    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        self.in_constant(1, |v| visit::visit_trait_item_const(v, item));
    }
    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.in_constant(1, |v| visit::visit_item_static(v, item));
    }
    fn visit_variant(&mut self, item: &'ast syn::Variant) {
        self.in_constant(1, |v| visit::visit_variant(v, item));
    }
    fn visit_type(&mut self, item: &'ast syn::Type) {
        self.in_constant(1, |v| visit::visit_type(v, item));
    }
    fn visit_generic_argument(&mut self, item: &'ast syn::GenericArgument) {
        self.in_constant(1, |v| visit::visit_generic_argument(v, item));
    }
    fn visit_pat(&mut self, item: &'ast Pat) {
        self.in_constant(1, |v| visit::visit_pat(v, item));
    }
    fn visit_expr_const(&mut self, item: &'ast syn::ExprConst) {
        self.in_constant(1, |v| visit::visit_expr_const(v, item));
    }
    fn visit_expr_repeat(&mut self, item: &'ast syn::ExprRepeat) {
        self.visit_expr(&item.expr);
        self.in_constant(1, |v| v.visit_expr(&item.len));
    }
    fn visit_expr_closure(&mut self, item: &'ast syn::ExprClosure) {
        self.in_constant(0, |v| visit::visit_expr_closure(v, item));
    }
    fn visit_signature(&mut self, item: &'ast Signature) {
        self.in_constant(1, |v| visit::visit_signature(v, item));
    }
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        let constant = usize::from(item.sig.constness.is_some());
        self.in_constant(constant, |v| visit::visit_item_fn(v, item));
    }
    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        let constant = usize::from(item.sig.constness.is_some());
        self.in_constant(constant, |v| visit::visit_impl_item_fn(v, item));
    }
    fn visit_use_name(&mut self, item: &'ast syn::UseName) {
        self.good(item.ident.to_string());
    }
    fn visit_expr_path(&mut self, item: &'ast syn::ExprPath) {
        if let (0, Some(last)) = (self.constant, item.path.segments.last()) {
            let name = last.ident.to_string();
            self.good(name.clone());
            let range = last.ident.span().byte_range();
            self.found
                .entry(self.file.clone())
                .or_default()
                .push((range, name));
        }
        visit::visit_expr_path(self, item);
    }
}
