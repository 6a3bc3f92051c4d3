//! The arguments of a queue task: the parameters of its function after the context.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Error, FnArg, Ident, ItemFn, Pat, Result, Type, Visibility, spanned::Spanned};

/// One argument of a queue task.
pub(crate) struct Argument {
    pub name: Ident,
    pub kind: Type,
}

/// Reads the parameters after the context.
pub(crate) fn read(function: &ItemFn) -> Result<Vec<Argument>> {
    function.sig.inputs.iter().skip(1).map(argument).collect()
}

fn argument(input: &FnArg) -> Result<Argument> {
    let expected = "expected an argument with a name and a type, e.g. `to: String`";
    let FnArg::Typed(argument) = input else { return Err(Error::new(input.span(), expected)) };
    let Pat::Ident(name) = &*argument.pat else { return Err(Error::new(argument.pat.span(), expected)) };
    match &*argument.ty {
        Type::Reference(reference) => Err(Error::new(
            reference.span(),
            "a job's arguments are stored until it runs, so they must be owned: `String` instead of `&str`",
        )),
        Type::ImplTrait(it) => Err(Error::new(
            it.span(),
            "a job's arguments are stored until it runs, so each needs a concrete type instead of `impl Trait`",
        )),
        kind => Ok(Argument { name: name.ident.clone(), kind: kind.clone() }),
    }
}

/// Generates the struct of the arguments, as they are stored.
pub(crate) fn declare(task: &Ident, visibility: &Visibility, arguments: &[Argument]) -> TokenStream {
    let name = of(task);
    let doc = format!("The stored arguments of a job of [`{task}`].");
    let fields = arguments.iter().map(|Argument { name, kind }| {
        let doc = format!("The argument `{name}`.");
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

/// Returns the name of the arguments' struct.
pub(crate) fn of(task: &Ident) -> Ident {
    format_ident!("{task}Arguments", span = task.span())
}

/// Generates the task's `enqueue` function.
pub(crate) fn enqueue(
    task: &Ident,
    visibility: &Visibility,
    name: &str,
    priority: &Ident,
    result: Option<&Type>,
    arguments: &[Argument],
) -> TokenStream {
    let all = of(task);
    let (names, kinds): (Vec<_>, Vec<_>) = arguments.iter().map(|it| (&it.name, &it.kind)).unzip();
    // Hygienic, since an argument may have the same name.
    let jobs = Ident::new("jobs", Span::mixed_site());
    let promised = result.map_or_else(|| quote!(::lamplighter::generated::Value), |it| quote!(#it));
    let doc = format!("Prepares a job of the task `{name}`; awaiting the returned value enqueues it.");
    quote! {
        impl #task {
            #[doc = #doc]
            #[allow(clippy::too_many_arguments, reason = "they are the parameters of the author's function")]
            #visibility fn enqueue(
                #jobs: &::lamplighter::Jobs,
                #(#names: #kinds),*
            ) -> ::lamplighter::Enqueue<#promised> {
                static SCHEMA: ::std::sync::OnceLock<::lamplighter::generated::Value> =
                    ::std::sync::OnceLock::new();
                ::lamplighter::Enqueue::new(
                    #jobs,
                    #name,
                    ::lamplighter::definition::Priority::#priority,
                    &#all { #(#names),* },
                )
                .checked(::std::borrow::Cow::Borrowed(SCHEMA.get_or_init(::lamplighter::generated::schema::<#all>)))
            }
        }

        impl ::lamplighter::Arguments for #all {
            const TASK: &'static str = #name;
            const PRIORITY: ::lamplighter::definition::Priority = ::lamplighter::definition::Priority::#priority;
            type Result = #promised;
        }
    }
}

/// Generates the statement that binds each argument of the context to its name.
pub(crate) fn take(task: &Ident, context: &Ident, arguments: &[Argument]) -> TokenStream {
    let all = of(task);
    let names = arguments.iter().map(|argument| &argument.name);
    quote!(let #all { #(#names),* } = #context.arguments::<#all>()?;)
}
