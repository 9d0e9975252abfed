//! One state of a pipeline's code: components with their settings, wired to the sinks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lakemill_model::{Answer, BatchClock, ChangeBatch, RowSchema, TableSchema, Transform, TransformError};
use lakemill_state::Code;

use crate::copies;
use crate::error::PipelineError;
use crate::outputs::OutputPlan;
use crate::spec::written::Metadata;

/// Where an output goes: the sink's index and the columns that it adds.
pub(crate) type Destination = (usize, Vec<Metadata>);

/// A transform and the sinks of its outputs.
pub(crate) struct BoundTransform {
    pub transform: Arc<dyn Transform>,
    /// By output.
    pub outputs: Vec<Destination>,
}

impl BoundTransform {
    /// Calls it with all rows of a batch.
    ///
    /// # Errors
    /// If it fails, or its answer is more than the host does.
    pub fn call(&self, batch: &Arc<ChangeBatch>, clock: BatchClock) -> Result<Answer, TransformError> {
        let answer = self.transform.transform(batch, clock)?;
        copies::bounded(batch, &answer, self.outputs.len())?;
        Ok(answer)
    }
}

/// By transform, output, and what it is resolved for: topic and columns.
type PlanKey = (usize, usize, Arc<str>, Arc<RowSchema>);

/// One state of a pipeline's code.
pub(crate) struct Version {
    /// What plans call it.
    pub code: Code,
    pub transforms: Vec<BoundTransform>,
    /// Resolved outputs.
    plans: Mutex<HashMap<PlanKey, Arc<OutputPlan>>>,
}

impl Version {
    pub fn new(code: Code, transforms: Vec<BoundTransform>) -> Self {
        Self { code, transforms, plans: Mutex::default() }
    }

    /// How rows of an output are made from rows like those of `batch`.
    pub fn plan(&self, index: usize, output: usize, batch: &ChangeBatch) -> Result<Arc<OutputPlan>, PipelineError> {
        self.plan_for(index, output, &batch.envelope.topic, &batch.schema)
    }

    fn plan_for(
        &self,
        index: usize,
        output: usize,
        topic: &Arc<str>,
        schema: &Arc<RowSchema>,
    ) -> Result<Arc<OutputPlan>, PipelineError> {
        let key = (index, output, topic.clone(), schema.clone());
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(&key) {
            return Ok(plan.clone());
        }
        let BoundTransform { transform, outputs } = &self.transforms[index];
        let spec = &transform.description().outputs[output];
        let plan = OutputPlan::resolve(spec, schema, topic, &outputs[output].1)
            .map_err(|reason| PipelineError::Output { component: transform.description().name.clone(), reason })?;
        let plan = Arc::new(plan);
        plans.insert(key, plan.clone());
        Ok(plan)
    }

    /// The tables that it would write for the rows that `other` has met: sink index and columns.
    ///
    /// # Errors
    /// If an output cannot be made from them.
    pub fn tables_for(&self, other: &Version) -> Result<Vec<(usize, Arc<TableSchema>)>, PipelineError> {
        let met: Vec<(Arc<str>, Arc<RowSchema>)> = {
            let plans = other.plans.lock().unwrap_or_else(PoisonError::into_inner);
            plans.keys().map(|(_, _, topic, schema)| (topic.clone(), schema.clone())).collect()
        };
        let mut tables = Vec::new();
        for (topic, schema) in met {
            for (index, bound) in self.transforms.iter().enumerate() {
                for (output, (sink, _)) in bound.outputs.iter().enumerate() {
                    let table = self.plan_for(index, output, &topic, &schema)?.table.clone();
                    if !tables.iter().any(|(at, known)| at == sink && *known == table) {
                        tables.push((*sink, table));
                    }
                }
            }
        }
        Ok(tables)
    }

    /// What its components call themselves.
    pub fn names(&self) -> Vec<String> {
        self.transforms.iter().map(|bound| bound.transform.description().name.clone()).collect()
    }
}
