use std::sync::Arc;

use portcullis_plugin::{Admit, Answer, Identity, Mention, OpenStream, PluginError, RequestCx, Verdict, http::Method};

use crate::need::Needs;

/// Judges by method and identity alone, and so an open stream like a new request.
pub(crate) struct Restriction<T> {
    pub needs: Needs<T>,
    pub judge: fn(&Needs<T>, &Method, &Identity) -> Verdict,
}

impl<T: Send + Sync> Admit for Restriction<T> {
    fn admit<'a>(
        &'a self,
        cx: &'a mut RequestCx<'_>,
        identity: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>> {
        Answer::Now(Ok((self.judge)(&self.needs, cx.method(), identity)))
    }

    fn recheck<'a>(
        &'a self,
        stream: &'a OpenStream<'a>,
        identity: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>> {
        Answer::Now(Ok((self.judge)(&self.needs, stream.method, identity)))
    }

    fn mentions(&self) -> Vec<Mention> {
        self.needs.mentions()
    }
}
