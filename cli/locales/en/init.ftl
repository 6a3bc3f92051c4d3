init-no-workspace = there is no cargo workspace or package in { $folder } or in a folder above it: create a new project with `lamplighter new`
init-done = { $file } exists, so this is a project already: add tasks with `lamplighter add`
init-name = { $error }; give another one with --name
init-no-template = { $file } is not a SAM template: it has no `Resources`
init-application = { $file } is the application: `lamplighter generate` merges it into { $template }, and leaves it as it is
init-sam-settings = set `template_file = "{ $template }"` in { $file }, so that `sam deploy` deploys the file that `lamplighter generate` writes
init-next = next: lamplighter add cron tidy --schedule "every day", then lamplighter up
