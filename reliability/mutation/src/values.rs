//! What a function's body is replaced with, by its return type: the rules of cargo-mutants.

use quote::ToTokens;
use syn::{GenericArgument, Path, PathArguments, ReturnType, Type, TypeParamBound};

const UNSIGNED: [&str; 6] = ["u8", "u16", "u32", "u64", "u128", "usize"];
const SIGNED: [&str; 6] = ["i8", "i16", "i32", "i64", "i128", "isize"];
const CONTAINERS: [&str; 6] = ["Box", "Cell", "RefCell", "Arc", "Rc", "Mutex"];
const COLLECTIONS: [&str; 5] = [
    "BinaryHeap",
    "BTreeSet",
    "HashSet",
    "LinkedList",
    "VecDeque",
];
const MAPS: [&str; 2] = ["BTreeMap", "HashMap"];

/// The values that stand for a whole body.
pub fn of_return(output: &ReturnType) -> Vec<String> {
    match output {
        ReturnType::Default => vec!["()".into()],
        ReturnType::Type(_, ty) => of_type(ty),
    }
}

/// Whether a function returns an `impl Trait`, whose one type a mutant's value cannot have.
pub fn is_opaque(output: &ReturnType) -> bool {
    matches!(output, ReturnType::Type(_, ty) if matches!(**ty, Type::ImplTrait(_)))
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

/// `first`, then `form` of every value of the inner type.
fn after(first: &str, inner: &Type, form: impl Fn(String) -> String) -> Vec<String> {
    std::iter::once(first.to_owned())
        .chain(of_type(inner).into_iter().map(form))
        .collect()
}

fn of_type(ty: &Type) -> Vec<String> {
    match ty {
        Type::Path(path) => of_path(&path.path),
        Type::Array(array) => {
            let length = array.len.to_token_stream();
            of_type(&array.elem)
                .into_iter()
                .map(|v| format!("[{v}; {length}]"))
                .collect()
        }
        Type::Slice(slice) => leaked(&slice.elem),
        Type::Reference(reference) => match &*reference.elem {
            Type::Path(path) if reference.mutability.is_none() && path.path.is_ident("str") => {
                words(&["\"\"", "\"xyzzy\""])
            }
            Type::Slice(slice) => leaked(&slice.elem),
            other => of_type(other)
                .into_iter()
                .map(|v| format!("Box::leak(Box::new({v}))"))
                .collect(),
        },
        Type::Tuple(tuple) => {
            let mut rows = vec![Vec::new()];
            for element in &tuple.elems {
                let values = of_type(element);
                rows = rows
                    .iter()
                    .flat_map(|row: &Vec<String>| {
                        values.iter().map(move |value| {
                            let mut longer = row.clone();
                            longer.push(value.clone());
                            longer
                        })
                    })
                    .collect();
            }
            rows.into_iter()
                .map(|row| format!("({})", row.join(", ")))
                .collect()
        }
        Type::ImplTrait(opaque) => match opaque.bounds.iter().find_map(item_of_iterator) {
            Some(item) => after("::std::iter::empty()", item, |v| {
                format!("::std::iter::once({v})")
            }),
            None => Vec::new(),
        },
        Type::Never(_) => Vec::new(),
        _ => words(&["Default::default()"]),
    }
}

fn leaked(element: &Type) -> Vec<String> {
    after("Vec::leak(Vec::new())", element, |v| {
        format!("Vec::leak(vec![{v}])")
    })
}

fn of_path(path: &Path) -> Vec<String> {
    let Some(last) = path.segments.last() else {
        return words(&["Default::default()"]);
    };
    let name = last.ident.to_string();
    let types = type_arguments(path);
    let first = first_type(path);
    if path.is_ident("bool") {
        return words(&["true", "false"]);
    }
    if path.is_ident("String") {
        return words(&["String::new()", "\"xyzzy\".into()"]);
    }
    if path.is_ident("str") {
        return words(&["\"\"", "\"xyzzy\""]);
    }
    if path.get_ident().is_some() {
        if UNSIGNED.contains(&name.as_str()) {
            return words(&["0", "1"]);
        }
        if SIGNED.contains(&name.as_str()) {
            return words(&["0", "1", "-1"]);
        }
        if name == "f32" || name == "f64" {
            return words(&["0.0", "1.0", "-1.0"]);
        }
    }
    if let Some(kind) = name.strip_prefix("NonZero") {
        let inner = match first {
            Some(Type::Path(inner)) if kind.is_empty() => inner
                .path
                .get_ident()
                .map(ToString::to_string)
                .unwrap_or_default(),
            _ => kind.to_lowercase(),
        };
        return if UNSIGNED.contains(&inner.as_str()) {
            words(&["1.try_into().unwrap()"])
        } else {
            words(&["1.try_into().unwrap()", "(-1).try_into().unwrap()"])
        };
    }
    if name == "Result" {
        return match first {
            Some(ok) => of_type(ok)
                .into_iter()
                .map(|v| format!("Ok({v})"))
                .collect(),
            None => words(&["Ok(Default::default())"]),
        };
    }
    if let Some(inner) = first {
        match name.as_str() {
            "Option" => return after("None", inner, |v| format!("Some({v})")),
            "Vec" => return after("vec![]", inner, |v| format!("vec![{v}]")),
            "Cow" => {
                return of_type(inner)
                    .into_iter()
                    .flat_map(|v| {
                        [
                            format!("Cow::Borrowed({v})"),
                            format!("Cow::Owned({v}.to_owned())"),
                        ]
                    })
                    .collect();
            }
            _ => {}
        }
    }
    let arguments = arguments(path);
    if let (1, Some(inner)) = (arguments, types.first()) {
        if CONTAINERS.contains(&name.as_str()) {
            return of_type(inner)
                .into_iter()
                .map(|v| format!("{name}::new({v})"))
                .collect();
        }
        if COLLECTIONS.contains(&name.as_str()) {
            return after(&format!("{name}::new()"), inner, |v| {
                format!("{name}::from_iter([{v}])")
            });
        }
    }
    if let (true, 2, [key, value]) = (MAPS.contains(&name.as_str()), arguments, &types[..]) {
        let values = of_type(value);
        let pairs = of_type(key).into_iter().flat_map(|k| {
            values
                .iter()
                .map(|v| format!("{name}::from_iter([({k}, {v})])"))
                .collect::<Vec<_>>()
        });
        return std::iter::once(format!("{name}::new()"))
            .chain(pairs)
            .collect();
    }
    if let [inner] = types[..] {
        let mut all = vec![format!("{name}::new()")];
        for value in of_type(inner) {
            all.push(format!("{name}::from_iter([{value}])"));
            all.push(format!("{name}::new({value})"));
            all.push(format!("{name}::from({value})"));
        }
        return all;
    }
    words(&["Default::default()"])
}

fn generic(path: &Path) -> impl Iterator<Item = &GenericArgument> {
    path.segments
        .last()
        .and_then(|last| match &last.arguments {
            PathArguments::AngleBracketed(angle) => Some(angle.args.iter()),
            _ => None,
        })
        .into_iter()
        .flatten()
}

fn arguments(path: &Path) -> usize {
    generic(path).count()
}

fn type_arguments(path: &Path) -> Vec<&Type> {
    generic(path)
        .filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
        .collect()
}

/// The first argument after the lifetimes, if it is a type.
fn first_type(path: &Path) -> Option<&Type> {
    match generic(path).find(|argument| !matches!(argument, GenericArgument::Lifetime(_))) {
        Some(GenericArgument::Type(ty)) => Some(ty),
        _ => None,
    }
}

fn item_of_iterator(bound: &TypeParamBound) -> Option<&Type> {
    let TypeParamBound::Trait(bound) = bound else {
        return None;
    };
    if bound
        .path
        .segments
        .last()
        .is_none_or(|last| last.ident != "Iterator")
    {
        return None;
    }
    generic(&bound.path).find_map(|argument| match argument {
        GenericArgument::AssocType(item) if item.ident == "Item" => Some(&item.ty),
        _ => None,
    })
}
