# Co słyszy ktoś, kto podaje zadanie, którego nie ma.
known-nearest = nie ma zadania `{ $word }`: czy chodziło o `{ $name }`?
known-all = nie ma zadania `{ $word }`: są { $all }
known-none = nie ma zadania `{ $word }`: w { $folder } nie ma żadnego
