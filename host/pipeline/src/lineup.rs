//! What one batch goes through: the code that makes the tables, and the one on trial beside it. A swap is another lineup from one
//! batch to the next.

use std::sync::Arc;

use lakemill_decode::Decoder;
use lakemill_state::{Canary, Plan};

use crate::rollout::Rollout;
use crate::trial::Mode;
use crate::version::Version;

/// What one batch goes through.
pub(crate) struct Lineup {
    /// Makes the tables.
    pub main: Arc<Version>,
    /// Decodes what it reads.
    pub decoder: Decoder,
    /// New code on trial beside it.
    pub rollout: Option<Arc<Rollout>>,
    /// Decodes what that reads, if it is something else: a value that only new code reads breaks nothing for the old one.
    pub trial_decoder: Option<Arc<Decoder>>,
}

impl Lineup {
    /// What plans say of a canary.
    pub fn canary(&self) -> Option<Canary> {
        let rollout = self.rollout.as_ref()?;
        match rollout.mode {
            Mode::Canary(percent) => Some(Canary { code: rollout.version.code.clone(), percent }),
            Mode::AtOnce | Mode::Shadow => None,
        }
    }

    /// Whether it is what a plan asks for.
    pub fn fits(&self, plan: &Plan) -> bool {
        self.main.code == plan.code && self.canary() == plan.canary
    }
}
