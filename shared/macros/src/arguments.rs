//! The arguments of a queue task: what its function takes after its context.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{Error, FnArg, Ident, ItemFn, Pat, Result, Type, Visibility, spanned::Spanned};

/// One argument of a queue task.
pub(crate) struct Argument {
    pub name: Ident,
    pub kind: Type,
}

/// Reads what follows the context.
pub(crate) fn read(function: &ItemFn) -> Result<Vec<Argument>> {
    function.sig.inputs.iter().skip(1).map(argument).collect()
}

fn argument(input: &FnArg) -> Result<Argument> {
    let expected = "an argument of a queue task is a name and a type: `to: String`";
    let FnArg::Typed(argument) = input else { return Err(Error::new(input.span(), expected)) };
    let Pat::Ident(name) = &*argument.pat else { return Err(Error::new(argument.pat.span(), expected)) };
    match &*argument.ty {
        Type::Reference(reference) => Err(Error::new(
            reference.span(),
            "a job's arguments are stored until it runs, so its task owns them: `String` and not `&str`",
        )),
        Type::ImplTrait(it) => Err(Error::new(
            it.span(),
            "a job's arguments are stored until it runs, so they are of one known type",
        )),
        kind => Ok(Argument { name: name.ident.clone(), kind: kind.clone() }),
    }
}

/// The struct of the arguments, as they are stored.
pub(crate) fn declare(task: &Ident, visibility: &Visibility, arguments: &[Argument]) -> TokenStream {
    let name = of(task);
    let doc = format!("The arguments of a job for [`{task}`], as they are stored.");
    let fields = arguments.iter().map(|Argument { name, kind }| {
        let doc = format!("What its function has as `{name}`.");
        quote_spanned!(kind.span() => #[doc = #doc] pub #name: #kind)
    });
    quote! {
        #[doc = #doc]
        #[derive(
            ::lamplighter::generated::serde::Serialize,
            ::lamplighter::generated::serde::Deserialize,
            ::lamplighter::generated::schemars::JsonSchema,
        )]
        #[serde(crate = "::lamplighter::generated::serde", deny_unknown_fields)]
        #[schemars(crate = "::lamplighter::generated::schemars")]
        #visibility struct #name { #(#fields),* }
    }
}

/// The name of that struct.
pub(crate) fn of(task: &Ident) -> Ident {
    format_ident!("{task}Arguments", span = task.span())
}

/// Takes the arguments out of the context `ctx`, each by its name.
pub(crate) fn take(task: &Ident, arguments: &[Argument]) -> TokenStream {
    let all = of(task);
    let names = arguments.iter().map(|argument| &argument.name);
    quote!(let #all { #(#names),* } = ctx.arguments::<#all>()?;)
}
