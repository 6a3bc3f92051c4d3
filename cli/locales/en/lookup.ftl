# What is said to one who names a task that is not there.
lookup-nearest = there is no task `{ $word }`: did you mean `{ $name }`?
lookup-all = there is no task `{ $word }`: there are { $all }
lookup-none = there is no task `{ $word }`: there are none below { $folder }
