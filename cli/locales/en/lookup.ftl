# Answers to a task's name that does not exist.
lookup-nearest = there is no task `{ $word }`: did you mean `{ $name }`?
lookup-all = there is no task `{ $word }`: the tasks are { $all }
lookup-none = there is no task `{ $word }`: there are no tasks in { $folder }
