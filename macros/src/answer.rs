//! What a function returns, and what of that is kept.

use syn::{Error, GenericArgument, PathArguments, Result, ReturnType, Type};

/// What a function returns, as it is written: `T`, `Result<T, E>`, `Arc<T>` or `Result<Arc<T>, E>`.
pub(crate) struct Answer<'f> {
    pub(crate) returned: &'f Type,
    /// The type of what is kept.
    pub(crate) value: &'f Type,
    /// `Ok` is kept, an error is not.
    pub(crate) is_result: bool,
    /// It is shared with what is in memory, instead of cloned.
    pub(crate) is_shared: bool,
}

impl<'f> Answer<'f> {
    pub(crate) fn of(output: &'f ReturnType, signature: &dyn quote::ToTokens) -> Result<Answer<'f>> {
        let ReturnType::Type(_, returned) = output else {
            return Err(Error::new_spanned(signature, NOTHING));
        };
        let (is_result, value) = match argument_of(returned, "Result") {
            Named::With(value) => (true, value),
            Named::Bare => return Err(Error::new_spanned(returned, NOTHING)),
            Named::Otherwise => (false, &**returned),
        };
        let (is_shared, value) = match argument_of(value, "Arc") {
            Named::With(value) => (true, value),
            Named::Bare | Named::Otherwise => (false, value),
        };
        check(value)?;
        Ok(Answer { returned, value, is_result, is_shared })
    }
}

const NOTHING: &str =
    "it returns nothing that could be kept: a call that is answered from the cache would do nothing at all";

fn check(value: &Type) -> Result<()> {
    let refused = |why: &str| Err(Error::new_spanned(value, why));
    match value {
        Type::Tuple(tuple) if tuple.elems.is_empty() => refused(NOTHING),
        Type::Never(_) => refused(NOTHING),
        Type::Reference(_) => refused(
            "a borrowed result cannot be kept longer than what it borrows from: return an owned one (`String` for `&str`, \
             `Vec<T>` for `&[T]`), or an `Arc` of it if clones are dear",
        ),
        Type::ImplTrait(_) => refused(
            "a result is written and read as one type, and that of `impl Trait` has no name: return a type by its name \
             (of an iterator, a `Vec` of its items; of a future, make the function an `async fn`)",
        ),
        Type::Ptr(_) | Type::FnPtr(_) => refused(
            "an address means nothing to another process, nor to this one later: return what is there",
        ),
        Type::Paren(inner) => check(&inner.elem),
        Type::Group(inner) => check(&inner.elem),
        _ => Ok(()),
    }
}

pub(crate) enum Named<'t> {
    /// With its first argument.
    With(&'t Type),
    Bare,
    Otherwise,
}

/// The first argument of a type whose name is `name`, wherever it is from.
pub(crate) fn argument_of<'t>(of: &'t Type, name: &str) -> Named<'t> {
    let path = match of {
        Type::Path(path) => &path.path,
        Type::Paren(inner) => return argument_of(&inner.elem, name),
        Type::Group(inner) => return argument_of(&inner.elem, name),
        _ => return Named::Otherwise,
    };
    let Some(last) = path.segments.last().filter(|last| last.ident == name) else { return Named::Otherwise };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return Named::Bare };
    let types = arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(it) => Some(it),
        _ => None,
    });
    types.map_or(Named::Bare, Named::With)
}
