//! The operator is killed behind each of its writes, before it hears of it: the end is the same.

use serde_json::json;

use super::{NAME, lose_a_volume, settled, spec};
use crate::world::{Driver, ReplicaOptions, World, end_state};

/// Behind which of the writes, unless `QUORATE_WORLD_KILLS` is `all`: every so many.
const STEP: usize = 11;

/// How many writes each process has that is killed again and again.
const EVERY: usize = 3;

/// What happens, and in the end a state of rest.
#[derive(Clone, Copy, Debug)]
enum Story {
    Creation,
    ThereAndBack,
    LostVolume,
    Rolling,
}

impl Story {
    async fn tell(self, world: &mut World) {
        match self {
            Self::Creation => {
                world.apply(NAME, &spec(3));
                settled(world, 3).await;
            }
            Self::ThereAndBack => {
                world.apply(NAME, &spec(1));
                settled(world, 1).await;
                world.scale(NAME, 3);
                settled(world, 3).await;
                world.scale(NAME, 1);
                settled(world, 1).await;
            }
            Self::LostVolume => {
                world.apply(NAME, &spec(3));
                settled(world, 3).await;
                lose_a_volume(world).await;
            }
            Self::Rolling => {
                world.apply(NAME, &spec(3));
                settled(world, 3).await;
                world.wish(NAME, |spec| spec["config"]["heartbeatIntervalMs"] = json!(150));
                world.second().await;
                settled(world, 3).await;
            }
        }
        world.seconds(40).await;
    }
}

async fn end_of(story: Story, kills: Vec<usize>) -> (Vec<String>, Vec<String>) {
    let mut world = World::new(5);
    let driver = Driver::Turns;
    world.operate(ReplicaOptions { kills, driver, ..ReplicaOptions::default() });
    story.tell(&mut world).await;
    (end_state(&world, NAME), world.replica(0).writes())
}

async fn killed_behind_each_write(story: Story) {
    let (end, writes) = end_of(story, Vec::new()).await;
    assert!(writes.len() > 20, "{writes:?}");
    let (first, step) = match std::env::var("QUORATE_WORLD_KILLS").as_deref() {
        Ok("all") => (1, 1),
        _ => (1 + story as usize, STEP),
    };
    for write in (first..=writes.len()).step_by(step) {
        let (found, _) = end_of(story, vec![write]).await;
        assert_eq!(found, end, "{story:?}, killed behind {write}: {}", writes[write - 1]);
    }
    // And again and again. Its first write is always the status: with one alone it gets nowhere.
    let (found, _) = end_of(story, vec![EVERY; 400 / EVERY]).await;
    assert_eq!(found, end, "{story:?}, killed behind every {EVERY} writes");
}

#[tokio::test(start_paused = true)]
async fn during_a_creation() {
    killed_behind_each_write(Story::Creation).await;
}

#[tokio::test(start_paused = true)]
async fn on_the_way_to_three_members_and_back() {
    killed_behind_each_write(Story::ThereAndBack).await;
}

#[tokio::test(start_paused = true)]
async fn while_a_lost_volume_is_replaced() {
    killed_behind_each_write(Story::LostVolume).await;
}

#[tokio::test(start_paused = true)]
async fn while_something_new_is_rolled_out() {
    killed_behind_each_write(Story::Rolling).await;
}
