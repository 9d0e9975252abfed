//! What a pipeline does with a source: it takes partitions, plans batches, commits them, and replays those that a crash left.

use super::*;

impl World {
    /// True if it came to the end.
    pub(super) fn try_run(
        &mut self,
        planned_max: usize,
        open_max: usize,
        on_data_loss: OnDataLoss,
    ) -> Result<bool, SourceError> {
        let options = FileOptions { on_data_loss, ..self.files.options(LineFormat::Value, Some("t")) };
        self.see();
        let mut source = match FileSource::open(options, Box::new(self.files.memory.clone())) {
            Err(SourceError::NoSuchTopic { .. }) if self.written.is_empty() => return Ok(false),
            opened => opened?,
        };
        let limits = BatchLimits { rows_max: 4, ..LIMITS };
        let (mut batch, mut step, mut planned) = (RawBatch::default(), PositionDelta::default(), 0);
        loop {
            let polled = source.poll(&mut batch, &limits, soon())?;
            for (tp, range) in source.take_ranges().iter() {
                let start = step.get(tp).map_or(range.start, |before: OffsetRange| before.start);
                step.set(tp.clone(), OffsetRange { start, end: range.end });
            }
            if !batch.is_empty() {
                if planned == planned_max {
                    return Ok(false);
                }
                planned += 1;
                self.plans.push((std::mem::take(&mut step), ids(&mut batch)));
                batch = RawBatch::default();
                while self.plans.len() > open_max {
                    self.commit(&mut source);
                }
            }
            match polled {
                Polled::Assigned(partitions) => self.take(&mut source, &partitions)?,
                Polled::CaughtUp => {
                    while !self.plans.is_empty() {
                        self.commit(&mut source);
                    }
                    return Ok(true);
                }
                _ => {}
            }
        }
    }

    /// Polls a source that follows the files, once, or with a look and until there is nothing more to be had.
    pub(super) fn try_follow(&mut self, looks: bool) -> Result<(), SourceError> {
        let (mut source, mut taken) = match self.followed.take() {
            Some(followed) => followed,
            None => {
                let options = FileOptions { follow: true, ..self.files.options(LineFormat::Value, Some("t")) };
                self.see();
                (FileSource::open(options, Box::new(self.files.memory.clone()))?, false)
            }
        };
        self.met.extend(self.written.values().flat_map(Written::visible));
        if looks {
            self.see();
            source.looked -= LOOK_EVERY;
        }
        let limits = BatchLimits { rows_max: 4, ..LIMITS };
        loop {
            let mut batch = RawBatch::default();
            let polled = source.poll(&mut batch, &limits, Instant::now())?;
            let step = source.take_ranges();
            for record in batch.records() {
                assert!(step.get(&batch.topic_partition(record)).is_some(), "a row without a position");
            }
            if taken {
                while !self.plans.is_empty() {
                    self.commit(&mut source);
                }
            }
            if let Polled::Assigned(partitions) = polled {
                self.take(&mut source, &partitions)?;
                taken = true;
            }
            let is_empty = batch.is_empty();
            if !step.is_empty() {
                // It is committed with the next poll, if there is one.
                self.plans.push((step, ids(&mut batch)));
            }
            if !looks || (is_empty && source.turns.is_empty() && source.unsaid.is_empty()) {
                break;
            }
        }
        if looks {
            while taken && !self.plans.is_empty() {
                self.commit(&mut source);
            }
        }
        self.followed = Some((source, taken));
        Ok(())
    }

    /// All that is there now is looked at.
    fn see(&mut self) {
        self.seen.extend(self.written.values().flat_map(Written::visible));
        self.met.extend(&self.seen);
    }

    fn take(&mut self, source: &mut FileSource, partitions: &[TopicPartition]) -> Result<(), SourceError> {
        source.recognise(&self.committed)?;
        let wanted = source.wanted(partitions, &self.committed)?;
        let at = |tp: &TopicPartition, positions: &Positions| positions.get(tp).unwrap_or(NextOffset(0));
        for (step, rows) in std::mem::take(&mut self.plans) {
            // One before it may be void.
            let mut batch = RawBatch::default();
            if !step.iter().all(|(tp, range)| range.start == at(tp, &self.committed))
                || !source.reread(&step, &mut batch)?
            {
                continue;
            }
            assert_eq!(ids(&mut batch), rows, "a replay has other lines");
            self.plans.push((step, rows));
            self.commit(source);
        }
        source.start(&wanted.iter().map(|tp| (tp.clone(), at(tp, &self.committed))).collect())
    }

    fn commit(&mut self, source: &mut FileSource) {
        let (step, rows) = self.plans.remove(0);
        self.committed.advance(&step);
        self.rows.extend(rows);
        source.report(&step.ends());
    }
}

/// Its records in the order that workers give them.
fn ids(batch: &mut RawBatch) -> Vec<u64> {
    batch.sort();
    let id = |record| {
        let value: serde_json::Value =
            serde_json::from_slice(batch.value(record).unwrap_or_default()).expect("a whole line");
        value["id"].as_u64().expect("a number")
    };
    batch.records().iter().map(id).collect()
}
