//! Answers that begin and never end: headers, then nothing, on a connection that stays alive.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http_body::Frame;
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Bytes, Service, http},
    server::NamedService,
};

use super::Backstage;

/// A service some of whose methods fall silent.
#[derive(Clone)]
pub struct Silencing<S> {
    service: S,
    backstage: Arc<Backstage>,
}

impl<S> Silencing<S> {
    /// `service`, silent where the script says so.
    pub fn of(service: S, backstage: &Arc<Backstage>) -> Self {
        Self { service, backstage: Arc::clone(backstage) }
    }
}

impl<S: NamedService> NamedService for Silencing<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Silencing<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let silent = self.backstage.script().silent.iter().any(|method| request.uri().path().ends_with(method));
        if silent {
            let answer = http::Response::builder().header("content-type", "application/grpc").body(Body::new(Never));
            return Box::pin(async { Ok(answer.expect("a response of constants")) });
        }
        let answer = self.service.call(request);
        Box::pin(answer)
    }
}

/// A body of which nothing ever comes.
struct Never;

impl http_body::Body for Never {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Pending
    }
}
