deploy-no-version = the version must not be empty
deploy-which-version = the live version is not a number, so there is no next one: pass --version
deploy-failed = version { $version } was not deployed: { $reason }
deploy-application = application
deploy-takes-over = switching to version { $version }
deploy-rolling-back = rolling back
deploy-update = { $stack }: update from version { $before } to { $version }
deploy-first = { $stack }: first deployment, version { $version }
deploy-live = version { $version } is live
deploy-stays-live = version { $version } stays live
deploy-none-live = no version is live yet
# Follows the stack's status at the end.
deploy-took = in { $time }: { $serves }
deploy-before = before the application
deploy-after = after the application
deploy-undo-before = rollback of the tasks before the application
deploy-undo-after = rollback of the tasks after the application
