# What is said to one who names a task that is not there.
known-nearest = there is no task `{ $word }`: did you mean `{ $name }`?
known-all = there is no task `{ $word }`: there are { $all }
known-none = there is no task `{ $word }`: there are none below { $folder }
