//! Generates the implementation of `Task`.

use lamplighter_core::name::TaskName;
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Error, Expr, ExprLit, FnArg, GenericArgument, Ident, ItemFn, Lit, Meta, PathArguments, Result,
    ReturnType, Type, spanned::Spanned,
};

use crate::{
    arguments,
    attributes::{Attributes, When},
};

pub(crate) fn expand(attributes: &Attributes, function: &ItemFn) -> Result<TokenStream> {
    let ident = &function.sig.ident;
    let visibility = &function.vis;
    let name = TaskName::from_function(&ident.to_string()).map_err(|error| {
        Error::new(
            ident.span(),
            format!("the function's name, with hyphens, is not a valid task name: {error}"),
        )
    })?;
    if function.sig.asyncness.is_none() {
        return Err(Error::new(function.sig.fn_token.span, "a task must be an `async fn`"));
    }
    if !function.sig.generics.params.is_empty() {
        return Err(Error::new(function.sig.generics.span(), "a task cannot be generic"));
    }
    let (config, state) = context(attributes, function)?;
    match (&attributes.state, &state) {
        (None, Some(state)) => return Err(Error::new(state.span(), STATE_WITHOUT_FUNCTION)),
        (Some(init), None) => return Err(Error::new(init.span(), STATE_NOT_IN_CONTEXT)),
        _ => {}
    }
    let ReturnType::Type(_, result) = &function.sig.output else {
        return Err(Error::new(ident.span(), "a task must return `TaskResult`"));
    };

    let task = format_ident!("{}", name.to_pascal_case(), span = ident.span());
    let queue = attributes.queue.as_ref().map(|_| arguments::read(function)).transpose()?;
    let arguments = queue.as_ref().map(|queue| {
        let priority = format_ident!("{}", attributes.priority.unwrap_or_default().variant());
        let result = attributes.result.as_ref();
        let declared = arguments::declare(&task, visibility, queue);
        let enqueue = arguments::enqueue(&task, visibility, name.as_str(), &priority, result, queue);
        quote!(#declared #enqueue)
    });
    let declared = declared(attributes, name.as_str(), &description(function), &task);
    let state = state.unwrap_or_else(|| syn::parse_quote!(()));
    let copies_assets = !attributes.copy_assets.is_empty();
    let doc = format!("The task `{name}`.");
    let tears_down = attributes.teardown.is_some();
    let functions = functions(attributes);
    let is_side = attributes.side.is_some();
    let takes_jobs = queue.is_some();
    // Hygienic, since an argument may have the same name.
    let ctx = Ident::new("ctx", Span::mixed_site());
    let names = queue.iter().flatten().map(|argument| &argument.name);
    let take = queue.as_ref().map(|queue| arguments::take(&task, &ctx, queue));
    // A mismatch of the return type is reported at the type itself.
    let call = quote_spanned!(result.span() => #ident(#ctx, #(#names),*).await);
    Ok(quote! {
        #[allow(clippy::unused_async, reason = "a task is async even if it awaits nothing")]
        #function

        #[doc = #doc]
        #[derive(Clone, Copy, Debug, Default)]
        #visibility struct #task;

        #arguments

        impl ::lamplighter::Task for #task {
            type Config = #config;
            type State = #state;

            const COPIES_ASSETS: bool = #copies_assets;
            const TEARS_DOWN: bool = #tears_down;
            const IS_SIDE: bool = #is_side;
            const TAKES_JOBS: bool = #takes_jobs;

            fn definition() -> ::lamplighter::definition::Definition {
                #declared.definition::<Self>()
            }

            async fn run(
                &self,
                #ctx: ::lamplighter::Context<Self::Config, Self::State>,
            ) -> ::lamplighter::TaskResult {
                #take
                #call
            }

            #functions
        }
    })
}

/// Generates the trait methods that call the author's functions. Errors are reported where the attribute names the function.
fn functions(attributes: &Attributes) -> TokenStream {
    let validate = attributes.validate.as_ref().map(|check| {
        quote_spanned! { check.span() =>
            fn validate(&self, ctx: &::lamplighter::Context<Self::Config>) -> ::lamplighter::Validity {
                #check(ctx)
            }
        }
    });
    let rollback = attributes.rollback.as_ref().map(|undo| {
        quote_spanned! { undo.span() =>
            async fn rollback(
                &self,
                ctx: ::lamplighter::Context<Self::Config, Self::State>,
            ) -> ::lamplighter::TaskResult {
                #undo(ctx).await
            }
        }
    });
    let init = attributes.state.as_ref().map(|init| {
        quote_spanned! { init.span() =>
            async fn init(
                &self,
                ctx: ::lamplighter::Context<Self::Config>,
            ) -> ::std::result::Result<Self::State, ::lamplighter::TaskError> {
                #init(ctx).await
            }
        }
    });
    let teardown = attributes.teardown.as_ref().map(|teardown| {
        quote_spanned! { teardown.span() =>
            async fn teardown(&self, state: &Self::State) {
                #teardown(state).await
            }
        }
    });
    let due = match &attributes.schedule {
        Some(When::Function(due)) => Some(quote_spanned! { due.span() =>
            async fn due(&self, ctx: ::lamplighter::Context<Self::Config>) -> ::lamplighter::Due {
                #due(ctx).await
            }
        }),
        Some(When::Expression(..)) | None => None,
    };
    let on_error = attributes.on_error.as_ref().map(|hook| {
        quote_spanned! { hook.span() =>
            async fn on_error(&self, ctx: ::lamplighter::Context<Self::Config>, error: ::lamplighter::RunError) {
                #hook(ctx, error).await
            }
        }
    });
    let on_shutdown = attributes.on_shutdown.as_ref().map(|hook| {
        quote_spanned! { hook.span() =>
            async fn on_shutdown(&self, ctx: ::lamplighter::Context<Self::Config, Self::State>) {
                #hook(ctx).await
            }
        }
    });
    quote! {
        #init
        #teardown
        #on_error
        #on_shutdown
        #validate
        #due
        #rollback
    }
}

const STATE_WITHOUT_FUNCTION: &str =
    "no function builds this state: name one with `#[task(state = function)]`";
const STATE_NOT_IN_CONTEXT: &str = "`state` requires the state's type in the context: `ctx: Context<Config, S>`, where this function returns an `S`";

/// Returns the types of `ctx: Context<Config, S>`: the configuration's (`()` by default) and the state's, if any.
fn context(attributes: &Attributes, function: &ItemFn) -> Result<(Type, Option<Type>)> {
    let expected = "expected the argument `ctx: Context`, `ctx: Context<Config>` or, with `state`, `ctx: Context<Config, S>`";
    let mut inputs = function.sig.inputs.iter();
    let Some(FnArg::Typed(argument)) = inputs.next() else {
        return Err(Error::new(function.sig.paren_token.span.join(), expected));
    };
    if let Some(further) = inputs.next()
        && attributes.queue.is_none()
    {
        let message = format!("{expected}, and no other; only queue tasks take further arguments");
        return Err(Error::new(further.span(), message));
    }
    let Type::Path(path) = &*argument.ty else { return Err(Error::new(argument.ty.span(), expected)) };
    let Some(last) = path.path.segments.last().filter(|segment| segment.ident == "Context") else {
        return Err(Error::new(argument.ty.span(), expected));
    };
    match &last.arguments {
        PathArguments::None => Ok((syn::parse_quote!(()), None)),
        PathArguments::AngleBracketed(arguments) => {
            let mut types = arguments.args.iter().map(|argument| match argument {
                GenericArgument::Type(it) => Ok(it.clone()),
                other => Err(Error::new(other.span(), expected)),
            });
            match (types.next().transpose()?, types.next().transpose()?, types.next().transpose()?) {
                (Some(config), state, None) => Ok((config, state)),
                _ => Err(Error::new(last.arguments.span(), expected)),
            }
        }
        PathArguments::Parenthesized(_) => Err(Error::new(last.arguments.span(), expected)),
    }
}

/// Returns the doc comment as one text. The indentation after the first space is kept.
fn description(function: &ItemFn) -> String {
    let lines =
        function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc")).filter_map(|attribute| {
            match &attribute.meta {
                Meta::NameValue(pair) => match &pair.value {
                    Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) => {
                        let line = line.value();
                        Some(line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned())
                    }
                    _ => None,
                },
                _ => None,
            }
        });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn declared(attributes: &Attributes, name: &str, description: &str, task: &Ident) -> TokenStream {
    let definition = quote!(::lamplighter::definition);
    let generated = quote!(::lamplighter::generated);
    let depends_on = &attributes.depends_on;
    let kind = if attributes.side.is_some() {
        quote!(#generated::DeclaredKind::Side)
    } else if attributes.queue.is_some() {
        let priority = format_ident!("{}", attributes.priority.unwrap_or_default().variant());
        let concurrency = optional(attributes.concurrency.map(|jobs| quote!(#jobs)));
        let arguments = arguments::of(task);
        quote! {
            #generated::DeclaredKind::Queue {
                priority: #definition::Priority::#priority,
                concurrency: #concurrency,
                arguments: #generated::schema::<#arguments>,
            }
        }
    } else if let Some(schedule) = &attributes.schedule {
        let schedule = optional(match schedule {
            When::Expression(schedule, _) => {
                let text = schedule.as_str();
                Some(quote!(#text))
            }
            When::Function(_) => None,
        });
        let timezone = attributes.timezone.as_deref().unwrap_or("UTC");
        let priority = format_ident!("{}", attributes.priority.unwrap_or_default().variant());
        let overlap = format_ident!("{}", attributes.overlap.unwrap_or_default().variant());
        let catch_up = attributes.catch_up.unwrap_or_default().to_string();
        let jitter_ms = attributes.jitter_ms.unwrap_or_default();
        let run_once = attributes.run_once.unwrap_or_default();
        quote! {
            #generated::DeclaredKind::Cron {
                schedule: #schedule,
                timezone: #timezone,
                priority: #definition::Priority::#priority,
                overlap: #definition::Overlap::#overlap,
                catch_up: #catch_up,
                depends_on: &[#(#depends_on),*],
                jitter_ms: #jitter_ms,
                run_once: #run_once,
            }
        }
    } else {
        let run_on = optional(attributes.run_on.as_ref().map(|changes| {
            let variants = changes.iter().map(|change| format_ident!("{}", change.variant()));
            quote!(&[#(#definition::RunOn::#variants),*])
        }));
        let phase = format_ident!("{}", attributes.phase.unwrap_or_default().variant());
        let once_per = format_ident!("{}", attributes.once_per.unwrap_or_default().variant());
        quote! {
            #generated::DeclaredKind::Lifecycle {
                run_on: #run_on,
                phase: #definition::Phase::#phase,
                once_per: #definition::OncePer::#once_per,
                depends_on: &[#(#depends_on),*],
            }
        }
    };
    let timeout_ms = optional(attributes.timeout_ms.map(|ms| quote!(#ms)));
    let attempts = optional(attributes.attempts.map(|attempts| quote!(#attempts)));
    let rollback = attributes.rollback.is_some();
    let assets = attributes.copy_assets.iter().map(|(from, to)| {
        let to = optional(to.as_ref().map(|to| quote!(#to)));
        quote!((#from, #to))
    });
    let category = optional(attributes.category.as_ref().map(|category| quote!(#category)));
    let tags = &attributes.tags;
    let enqueues = &attributes.enqueues;
    let retention_ms = optional(attributes.retention_ms.map(|ms| quote!(#ms)));
    let result = optional(
        attributes
            .result
            .as_ref()
            .map(|result| quote_spanned!(result.span() => #generated::schema::<#result>)),
    );
    quote! {
        #generated::Declared {
            name: #name,
            description: #description,
            kind: #kind,
            timeout_ms: #timeout_ms,
            attempts: #attempts,
            copy_assets: &[#(#assets),*],
            rollback: #rollback,
            category: #category,
            tags: &[#(#tags),*],
            enqueues: &[#(#enqueues),*],
            retention_ms: #retention_ms,
            result: #result,
        }
    }
}

fn optional(value: Option<TokenStream>) -> TokenStream {
    if let Some(value) = value {
        quote!(::std::option::Option::Some(#value))
    } else {
        quote!(::std::option::Option::None)
    }
}
