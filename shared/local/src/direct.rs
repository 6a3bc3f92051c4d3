//! The DynamoDB API of an engine in this process, without a socket: an HTTP client for the SDK's client.

use std::sync::Weak;

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;

use crate::{endpoint::operation_of, store::LockedStore};

/// Answers requests from an engine, for as long as that is open. The engine does its work in [`HttpConnector::call`], so the
/// returned future is ready at once.
#[derive(Clone, Debug)]
struct Direct(Weak<LockedStore>);

/// The HTTP client of an engine. Its requests fail once the engine is closed.
pub(crate) fn client(engine: Weak<LockedStore>) -> SharedHttpClient {
    SharedHttpClient::new(Direct(engine))
}

impl HttpClient for Direct {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Direct {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Some(open) = self.0.upgrade() else {
            return HttpConnectorFuture::ready(Err(ConnectorError::io("the table is closed".into())));
        };
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let (status, body) =
            open.store.answer(operation_of(target), request.body().bytes().unwrap_or_default());
        let answered = status.try_into().map(|status| {
            let mut response = HttpResponse::new(status, SdkBody::from(body));
            response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
            response
        });
        HttpConnectorFuture::ready(answered.map_err(|error| ConnectorError::other(Box::new(error), None)))
    }
}
