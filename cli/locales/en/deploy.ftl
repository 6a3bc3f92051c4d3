deploy-no-version = a version cannot be empty
deploy-which-version = the version that serves is not a number, so say which comes next: --version
deploy-failed = version { $version } was not deployed: { $reason }
deploy-application = application
deploy-takes-over = version { $version } takes over
deploy-rolling-back = rolling back
deploy-update = { $stack }: update from version { $before } to { $version }
deploy-first = { $stack }: first deployment, version { $version }
deploy-serves = version { $version } serves
deploy-keeps-serving = version { $version } keeps serving
deploy-nothing-serves = nothing serves yet
# What follows the stack's status at the end.
deploy-took = in { $time }: { $serves }
deploy-before = before the application
deploy-after = after the application
deploy-undo-before = undo what ran before the application
deploy-undo-after = undo what ran after the application
