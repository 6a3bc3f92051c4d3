init-no-workspace = there is no cargo workspace or package around { $folder }: begin a new project with `lamplighter new`
init-done = { $file } exists, so this is a project already: add tasks with `lamplighter add`
init-name = { $error }; give another one with --name
init-no-template = { $file } is not a SAM template: it has no `Resources`
init-template-taken = { $file } is the file that `lamplighter generate` writes: move your template, for example to infra/application.yaml, and run `lamplighter init` again
init-application = { $file } is the application: `lamplighter generate` merges it into { $template }, and leaves it as it is
init-next = next: lamplighter add cron tidy --schedule "every day", then lamplighter up
