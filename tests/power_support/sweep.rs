//! A short history of one process, in which the power fails at every event: with all that was not synced lost, with all of
//! it there, and with each single page or name the other way.

use super::disk::{Choice, Disk};
use super::history::note;
use super::recorder::{Checker, Recorder};
use super::setting::Setting;
use super::steps::{Content, Counts, Model};
use super::wire::Kind;
use crate::damage_support::{Dice, quick_dir};

const LIMIT: u64 = 6 << 20;

/// Returns how many images were looked at, of how many events.
///
/// # Errors
///
/// What was found that must not be.
pub(crate) fn sweep(seed: u64, most_images: u64) -> Result<(u64, u64), String> {
    let mut dice = Dice::new(seed);
    let root = quick_dir();
    let dir = root.path().join("store");
    let image = root.path().join("image");
    std::fs::create_dir(&dir).unwrap();
    let (mut disk, mut model) = (Disk::of(&dir, None), Model::default());
    let mut recorder = Recorder::new(None);
    let setting = Setting { limit: LIMIT, is_encrypted: dice.chance(50) };
    let mut checker = Checker::new(setting, None);
    let told = setting.told();
    let arguments = [dir.to_str().unwrap(), "0", &told, "1000", "checkpoint", "alone"];
    let (mut images, mut events) = (0, 0);
    let mut looked_at: (u64, Counts) = (u64::MAX, Counts::default());
    let mut first = true;
    // Those that it may be opened with.
    let mut secrets = vec![0];
    while images < most_images {
        // Opened, written and closed, or killed, over and over.
        let mut process = recorder.start("writer", &arguments);
        let mut order = "open";
        let mut left = dice.between(5, 40);
        let killed = dice.chance(30);
        loop {
            let (id, request) = recorder.next()?;
            if id != process.id {
                continue;
            }
            let Some(request) = request else {
                if order == "leave" {
                    break;
                }
                return Err(format!("UNSOUND: the writer ended with {} ({order})", process.ended()));
            };
            events += 1;
            note(&mut disk, &dir, &request);
            if request.kind == Kind::Next {
                match order {
                    "open" => {
                        let content = Content::read(&request.text);
                        model.check(&content, if first { &model.safe } else { &model.done })?;
                        model.resume(&content);
                        first = false;
                    }
                    "put" | "load" => model.returned(0, &request.text),
                    "reencrypt" | "secret" => secrets = vec![request.text.parse().unwrap()],
                    "checkpoint" | "close" => model.keep(&model.done.clone()),
                    _ => {}
                }
                disk.look_at_segments();
            }
            disk.look_at_all();
            if (disk.generation, model.safe) != looked_at {
                looked_at = (disk.generation, model.safe);
                let odds = disk.odds();
                for newest in [false, true] {
                    for but in [None].into_iter().chain(odds.iter().map(Some)) {
                        if images == most_images {
                            return Ok((images, events));
                        }
                        disk.build(&image, Choice::All { newest, but }, &mut dice);
                        let of =
                            |why| format!("{why}; event {events}, newest {newest} but {but:?}, seed {seed}");
                        let content = checker.look_at(&image).map_err(of)?;
                        let content = Content::read(&content);
                        model.check(&content, &model.safe).map_err(of)?;
                        if !secrets.contains(&content.secret) {
                            return Err(of(format!("secret {} of {secrets:?} opens it", content.secret)));
                        }
                        images += 1;
                    }
                }
            }
            if request.kind != Kind::Next {
                process.answer("");
                continue;
            }
            left = left.saturating_sub(1);
            let text = match dice.below(20) {
                _ if order == "close" => {
                    order = "leave";
                    String::new()
                }
                _ if left == 0 && killed => {
                    process.kill();
                    break;
                }
                _ if left == 0 => {
                    order = "close";
                    order.to_owned()
                }
                0..=1 => {
                    order = "checkpoint";
                    order.to_owned()
                }
                2 => {
                    order = match dice.below(3) {
                        1 if setting.is_encrypted => "reencrypt",
                        2 if setting.is_encrypted => "secret",
                        _ => "compact",
                    };
                    if order != "compact" {
                        secrets = vec![0, 1];
                    }
                    order.to_owned()
                }
                4 => {
                    order = "full";
                    order.to_owned()
                }
                other => {
                    let is_load = cfg!(feature = "load") && other == 3;
                    order = if is_load { "load" } else { "put" };
                    format!("{order} {} 1", model.begin(0, 1, is_load))
                }
            };
            process.answer(&text);
        }
    }
    Ok((images, events))
}
