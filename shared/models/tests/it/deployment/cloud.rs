//! CloudFormation: one stack with a resource of tasks, and another resource that may fail at any moment.

use super::{
    invariants::STACK_MOVES,
    life::{Life, OnFailure},
    request::{SentRequest, Undone, Way},
    stack::{Event, Move},
    status::StackStatus,
    world::World,
};

impl Life {
    pub fn moves(&self, world: &World, moves: &mut Vec<Move>) {
        let stack = &world.stack;
        let (status, left) = (stack.status, world.left);
        let may_begin = status.is_at_rest() || status == StackStatus::UpdateFailed;
        if may_begin && world.next < self.updates.len() {
            moves.push(Move::Update);
        }
        if status.is_at_rest() && left.deletions > 0 && world.next == self.updates.len() {
            moves.push(Move::Delete);
        }
        if stack.due().is_some() {
            moves.push(Move::Send);
        }
        if left.failures > 0 && (status.goes_forward() || status == StackStatus::RollingBack) {
            moves.push(Move::OtherFails);
        }
        if left.timeouts > 0 && stack.waits_for.is_some() {
            moves.push(Move::Timeout);
        }
        if stack.waits_for.is_none() && stack.due().is_none() && !may_begin {
            let ends = [StackStatus::CreationRolledBack, StackStatus::RollbackFailed, StackStatus::Deleted];
            if !ends.contains(&status) {
                moves.push(Move::Finish);
            }
        }
        let may_return = matches!(status, StackStatus::RollbackFailed | StackStatus::UpdateFailed);
        if left.continued > 0 && may_return {
            moves.push(Move::RollBack);
        }
    }

    pub fn go(&self, world: &mut World, what: Move) {
        match what {
            Move::Update => {
                let update = self.updates[world.next];
                world.next += 1;
                (world.stack.target, world.stack.on_failure) = (update.to, update.on_failure);
                world.turn(StackStatus::Updating);
            }
            Move::Delete => {
                world.left.deletions -= 1;
                world.turn(StackStatus::Deleting);
            }
            Move::Send => world.send(),
            Move::OtherFails => {
                world.left.failures -= 1;
                world.fail();
            }
            Move::Timeout => {
                world.left.timeouts -= 1;
                match world.sent[world.stack.waits_for.unwrap()].way {
                    Way::Delete => world.stack.waits_for = None,
                    _ => world.fail(),
                }
            }
            Move::Finish => world.finish(),
            Move::RollBack => {
                world.left.continued -= 1;
                if world.stack.status == StackStatus::UpdateFailed {
                    world.turn_back(StackStatus::RollingBack);
                } else {
                    let has_sent = world.stack.has_sent;
                    world.turn(StackStatus::RollingBack);
                    world.stack.has_sent = has_sent;
                }
            }
        }
    }
}

impl World {
    fn turn(&mut self, status: StackStatus) {
        let now = self.now();
        self.stack.status = status;
        self.stack.has_sent = false;
        self.stack.events.push(Event::Stack(status, now + 1));
    }

    fn send(&mut self) {
        let (way, to) = self.stack.due().unwrap();
        let stack = &mut self.stack;
        stack.has_sent = true;
        stack.touched = true;
        stack.waits_for = Some(self.sent.len());
        let old = stack.resource;
        if way != Way::Delete {
            (stack.resource, stack.unsure) = (to, true);
        }
        // A return to the properties in effect ends the failures that were kept.
        if way == Way::Update && to == stack.effect {
            let since = stack.since;
            for sent in self.sent[since..].iter_mut().filter(|sent| sent.is_forward() && !sent.succeeded) {
                sent.undone = Undone::Returned;
            }
        }
        self.sent.push(SentRequest::new(way, to, old, self.now() + 1));
        if let (Way::Update | Way::Rollback, Some(to)) = (way, to) {
            let now = self.now();
            self.stack.events.push(Event::Resource(to, now));
        }
    }

    /// A resource has failed.
    fn fail(&mut self) {
        let stack = &mut self.stack;
        let waited = stack.waits_for.take();
        match stack.status {
            StackStatus::Creating => self.turn_back(StackStatus::RollingBackCreation),
            StackStatus::RollingBack => {
                let has_sent = stack.has_sent && waited.is_none();
                self.turn(StackStatus::RollbackFailed);
                self.stack.has_sent = has_sent;
            }
            _ if stack.on_failure == OnFailure::Keep => self.turn(StackStatus::UpdateFailed),
            _ => self.turn_back(StackStatus::RollingBack),
        }
    }

    fn turn_back(&mut self, status: StackStatus) {
        self.stack.effect = self.stack.stable_effect;
        let since = self.stack.since;
        let still_there = |sent: &&mut SentRequest| sent.is_forward() && sent.undone == Undone::No;
        for sent in self.sent[since..].iter_mut().filter(still_there) {
            sent.undone = Undone::RolledBack;
        }
        self.turn(status);
    }

    fn finish(&mut self) {
        let stack = &self.stack;
        let next = match stack.status {
            StackStatus::Creating => StackStatus::Created,
            StackStatus::RollingBackCreation => StackStatus::CreationRolledBack,
            StackStatus::Updating if stack.target.is_none() && stack.resource.is_some() => {
                StackStatus::CleaningUp
            }
            StackStatus::RollingBack if stack.stable.is_none() && stack.resource.is_some() => {
                StackStatus::CleaningUpRollback
            }
            StackStatus::RollingBack | StackStatus::CleaningUpRollback => StackStatus::RolledBack,
            StackStatus::Deleting => StackStatus::Deleted,
            _ => StackStatus::Updated,
        };
        if matches!(stack.status, StackStatus::CleaningUp | StackStatus::CleaningUpRollback) {
            self.stack.resource = None;
        }
        self.turn(next);
        if next.is_at_rest() {
            let now = self.sent.len();
            let stack = &mut self.stack;
            (stack.stable, stack.stable_effect) = (stack.resource, stack.effect);
            (stack.touched, stack.unsure, stack.since) = (false, false, now);
        }
    }

    /// CloudFormation gets an answer.
    pub fn answered(&mut self, request: usize, success: bool) {
        if self.stack.waits_for != Some(request) {
            return;
        }
        let sent = &mut self.sent[request];
        match (sent.way, success) {
            (Way::Delete, _) => self.stack.waits_for = None,
            (way, true) => {
                sent.succeeded = true;
                self.stack.waits_for = None;
                self.stack.unsure = false;
                if way != Way::Rollback {
                    self.stack.effect = sent.to;
                }
            }
            (way, false) => {
                if way == Way::Rollback {
                    self.breaks(STACK_MOVES);
                }
                self.fail();
            }
        }
    }
}
