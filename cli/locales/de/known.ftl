# Was jemand hört, der eine Aufgabe nennt, die es nicht gibt.
known-nearest = die Aufgabe `{ $word }` gibt es nicht: war `{ $name }` gemeint?
known-all = die Aufgabe `{ $word }` gibt es nicht: es gibt { $all }
known-none = die Aufgabe `{ $word }` gibt es nicht: unter { $folder } ist keine
