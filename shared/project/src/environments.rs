//! The environments that one template serves: those in which the project has the same values.

use crate::{config::Config, describe::DescribedTask, tasks::Project};

/// The environments that a template serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Environments {
    /// All but these, which have values of their own.
    AllBut(Vec<String>),
    /// Only these.
    Only(Vec<String>),
}

impl Default for Environments {
    fn default() -> Self {
        Self::AllBut(Vec::new())
    }
}

impl Environments {
    /// Finds the environments that the project's template serves. An environment whose values are invalid is not served.
    pub fn of(project: &Project, described: &[DescribedTask], config: &Config) -> Self {
        let values = |config: &Config, environment: &str| {
            let other = Project::resolve(&project.name, described.to_vec(), config, Some(environment));
            other.ok().map(Project::without_environment)
        };
        let own = project.clone().without_environment();
        let is_same = |environment: &str| values(config, environment).is_some_and(|other| other == own);
        // An environment that the file does not name has the values of the project.
        let mut unnamed = config.clone();
        unnamed.environments.clear();
        let is_unnamed_same = values(&unnamed, &project.environment).is_some_and(|other| other == own);
        let (same, other): (Vec<_>, Vec<_>) =
            config.environments.keys().cloned().partition(|environment| is_same(environment));
        if is_unnamed_same { Self::AllBut(other) } else { Self::Only(same) }
    }

    /// The environments of the file that need a template of their own.
    pub fn not_served<'a>(&self, config: &'a Config) -> Vec<&'a str> {
        let is_served = |name: &String| match self {
            Self::AllBut(others) => !others.contains(name),
            Self::Only(same) => same.contains(name),
        };
        config.environments.keys().filter(|name| !is_served(name)).map(String::as_str).collect()
    }
}

impl Project {
    /// The project without the fields that depend only on the environment's name.
    fn without_environment(mut self) -> Self {
        self.environment.clear();
        for task in &mut self.tasks {
            // The places of variables in the file, which differ although the values are the same.
            task.environment_keys.clear();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures;

    fn environments(config: &str, environment: &str) -> (Environments, Vec<String>) {
        let config = Config::parse(config).unwrap();
        let tasks = fixtures::tasks();
        let project = Project::resolve("shop", tasks.clone(), &config, Some(environment)).unwrap();
        let environments = Environments::of(&project, &tasks, &config);
        let others = environments.not_served(&config).into_iter().map(str::to_owned).collect();
        (environments, others)
    }

    #[test]
    fn g09_environments_with_the_same_values_share_a_template() {
        let only = |names: &[&str]| Environments::Only(names.iter().map(|name| (*name).to_owned()).collect());
        let all_but =
            |names: &[&str]| Environments::AllBut(names.iter().map(|name| (*name).to_owned()).collect());
        for (config, environment, expected, others) in [
            ("", "dev", all_but(&[]), &[][..]),
            ("[environments.prod]", "prod", all_but(&[]), &[]),
            (
                "[environments.prod.notify]\nwebhook = \"https://x.example/\"",
                "dev",
                all_but(&["prod"]),
                &["prod"],
            ),
            ("[environments.prod.notify]\nwebhook = \"https://x.example/\"", "prod", only(&["prod"]), &[]),
            // The same values as the project's.
            (
                "[tasks.seed-data]\nattempts = 2\nenvironment = { AA = \"b\" }\n[environments.prod.tasks.seed-data]\n\
                 attempts = 2\nenvironment = { AA = \"b\" }",
                "dev",
                all_but(&[]),
                &[],
            ),
            (
                "[environments.prod.tasks.seed-data.config]\nx = 1\n[environments.live.tasks.seed-data.config]\nx = 1\n\
                 [environments.test.role]\nPath = \"/test/\"",
                "prod",
                only(&["live", "prod"]),
                &["test"],
            ),
            ("[environments.test.function]\nTracing = \"Active\"", "dev", all_but(&["test"]), &["test"]),
            // Invalid values of another environment.
            ("[environments.test.function]\nTraces = 1", "dev", all_but(&["test"]), &["test"]),
        ] {
            let found = environments(config, environment);
            let others: Vec<_> = others.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(found, (expected, others), "{config}");
        }
    }

    proptest! {
        #[test]
        fn g09_an_environment_is_served_by_its_own_template(
            attempts in prop::collection::btree_map("[a-d]", 1..3u32, 0..4),
            of_project in prop::option::of(1..3u32),
            environment in "[a-e]",
        ) {
            let mut config = Config::default();
            let task = |attempts| {
                let mut task = crate::config::TaskConfig::default();
                task.attempts = attempts;
                task
            };
            config.tasks.insert("seed-data".to_owned(), task(of_project));
            for (name, attempts) in &attempts {
                let of_task = [("seed-data".to_owned(), task(Some(*attempts)))].into();
                let mut environment = crate::config::EnvironmentConfig::default();
                environment.tasks = of_task;
                config.environments.insert(name.clone(), environment);
            }
            let tasks = fixtures::tasks();
            let project = Project::resolve("shop", tasks.clone(), &config, Some(&environment)).unwrap();
            let others = Environments::of(&project, &tasks, &config);
            let others = others.not_served(&config);
            prop_assert!(!others.contains(&environment.as_str()));
            let of = |name: &str| attempts.get(name).copied().or(of_project);
            for name in attempts.keys() {
                // An override counts as a difference even if it equals the task's own value.
                prop_assert_eq!(others.contains(&name.as_str()), of(name) != of(&environment), "{}", name);
            }
        }
    }
}
