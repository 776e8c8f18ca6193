<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="de" sourcelanguage="en">
 <context>
  <name>monitor</name>
  <message>
   <source>&amp;About</source>
   <translation>&amp;Über</translation>
  </message>
  <message>
   <source>&amp;Cluster</source>
   <translation>&amp;Cluster</translation>
  </message>
  <message>
   <source>&amp;Deadline from now on</source>
   <translation>&amp;Frist von jetzt an</translation>
  </message>
  <message>
   <source>&amp;Find</source>
   <translation>&amp;Suchen</translation>
  </message>
  <message>
   <source>&amp;Help</source>
   <translation>&amp;Hilfe</translation>
  </message>
  <message>
   <source>&amp;Look at …</source>
   <translation>&amp;Ansehen …</translation>
  </message>
  <message>
   <source>&amp;Notify me of new alerts</source>
   <translation>&amp;Neue Meldungen anzeigen</translation>
  </message>
  <message>
   <source>&amp;Priority within it</source>
   <translation>&amp;Vorrang darin</translation>
  </message>
  <message>
   <source>&amp;Quit</source>
   <translation>&amp;Beenden</translation>
  </message>
  <message>
   <source>&amp;Save the table …</source>
   <translation>Tabelle &amp;speichern …</translation>
  </message>
  <message>
   <source>&amp;View</source>
   <translation>&amp;Ansicht</translation>
  </message>
  <message>
   <source>, critical: {n}</source>
   <translation>, kritisch: {n}</translation>
  </message>
  <message>
   <source>10 min</source>
   <translation>10 min</translation>
  </message>
  <message>
   <source>2 h</source>
   <translation>2 h</translation>
  </message>
  <message>
   <source>7 days</source>
   <translation>7 Tage</translation>
  </message>
  <message>
   <source>A priority is a number.</source>
   <translation>Ein Vorrang ist eine Zahl.</translation>
  </message>
  <message>
   <source>A token has no spaces, and no accents.</source>
   <translation>Ein Token hat weder Leerzeichen noch Umlaute.</translation>
  </message>
  <message>
   <source>Action</source>
   <translation>Handlung</translation>
  </message>
  <message>
   <source>Address</source>
   <translation>Adresse</translation>
  </message>
  <message>
   <source>Alerts</source>
   <translation>Warnungen</translation>
  </message>
  <message>
   <source>All back after</source>
   <translation>Alle zurück nach</translation>
  </message>
  <message>
   <source>All that fit are busy: it is its turn next.</source>
   <translation>Alle passenden sind beschäftigt: Es kommt als Nächstes dran.</translation>
  </message>
  <message>
   <source>Artifacts</source>
   <translation>Artefakte</translation>
  </message>
  <message>
   <source>As the system</source>
   <translation>Wie das System</translation>
  </message>
  <message>
   <source>Attempts</source>
   <translation>Versuche</translation>
  </message>
  <message>
   <source>Attempts in this run</source>
   <translation>Versuche in diesem Lauf</translation>
  </message>
  <message>
   <source>Back to &amp;now</source>
   <translation>Zurück zu &amp;jetzt</translation>
  </message>
  <message>
   <source>Back to now (Ctrl+L)</source>
   <translation>Zurück zu jetzt (Strg+L)</translation>
  </message>
  <message>
   <source>Before</source>
   <translation>Zurück</translation>
  </message>
  <message>
   <source>Begins in</source>
   <translation>Beginnt in</translation>
  </message>
  <message>
   <source>CPU</source>
   <translation>CPU</translation>
  </message>
  <message>
   <source>Cancel</source>
   <translation>Abbrechen</translation>
  </message>
  <message>
   <source>Cancel the next one …</source>
   <translation>Die nächste abbrechen …</translation>
  </message>
  <message>
   <source>Case</source>
   <translation>Testfall</translation>
  </message>
  <message>
   <source>Cases</source>
   <translation>Testfälle</translation>
  </message>
  <message>
   <source>Cases of {run}</source>
   <translation>Testfälle von {run}</translation>
  </message>
  <message>
   <source>Choose one in the view of runs, and press Enter.</source>
   <translation>In der Ansicht der Läufe einen auswählen und Enter drücken.</translation>
  </message>
  <message>
   <source>Choose one, or write where one is.</source>
   <translation>Einen auswählen oder schreiben, wo einer ist.</translation>
  </message>
  <message>
   <source>Class</source>
   <translation>Klasse</translation>
  </message>
  <message>
   <source>Clusters on this machine, and of late</source>
   <translation>Cluster auf dieser Maschine und zuletzt angesehene</translation>
  </message>
  <message>
   <source>Coordinator</source>
   <translation>Koordinator</translation>
  </message>
  <message>
   <source>Coordinators</source>
   <translation>Koordinatoren</translation>
  </message>
  <message>
   <source>Dark</source>
   <translation>Dunkel</translation>
  </message>
  <message>
   <source>Deadline slack</source>
   <translation>Luft bis zur Frist</translation>
  </message>
  <message>
   <source>Deadline slack: time left to begin</source>
   <translation>Luft bis zur Frist: Zeit, um zu beginnen</translation>
  </message>
  <message>
   <source>Deadlines met</source>
   <translation>Fristen gehalten</translation>
  </message>
  <message>
   <source>Digest</source>
   <translation>Prüfsumme</translation>
  </message>
  <message>
   <source>Disk</source>
   <translation>Platte</translation>
  </message>
  <message>
   <source>Done</source>
   <translation>Fertig</translation>
  </message>
  <message>
   <source>Due</source>
   <translation>Fällig</translation>
  </message>
  <message>
   <source>Earlier runs, this one last</source>
   <translation>Frühere Läufe, dieser zuletzt</translation>
  </message>
  <message>
   <source>Elections and failovers</source>
   <translation>Wahlen und Ausfälle</translation>
  </message>
  <message>
   <source>Ended</source>
   <translation>Beendet</translation>
  </message>
  <message>
   <source>Ending / s</source>
   <translation>Enden / s</translation>
  </message>
  <message>
   <source>Enter shows what one is about.</source>
   <translation>Eingabe zeigt, worum es geht.</translation>
  </message>
  <message>
   <source>Entries behind</source>
   <translation>Einträge zurück</translation>
  </message>
  <message>
   <source>Errors</source>
   <translation>Fehlerausgabe</translation>
  </message>
  <message>
   <source>Exception</source>
   <translation>Ausnahme</translation>
  </message>
  <message>
   <source>Failed</source>
   <translation>Fehlgeschlagen</translation>
  </message>
  <message>
   <source>Failovers</source>
   <translation>Ausfälle</translation>
  </message>
  <message>
   <source>File</source>
   <translation>Datei</translation>
  </message>
  <message>
   <source>Find a case</source>
   <translation>Testfall suchen</translation>
  </message>
  <message>
   <source>Find a case (Ctrl+F)</source>
   <translation>Testfall suchen (Strg+F)</translation>
  </message>
  <message>
   <source>Find a worker</source>
   <translation>Worker suchen</translation>
  </message>
  <message>
   <source>Find a worker (Ctrl+F)</source>
   <translation>Worker suchen (Strg+F)</translation>
  </message>
  <message>
   <source>Find in what it wrote</source>
   <translation>In der Ausgabe suchen</translation>
  </message>
  <message>
   <source>Find in what it wrote (Ctrl+F)</source>
   <translation>In der Ausgabe suchen (Strg+F)</translation>
  </message>
  <message>
   <source>Find what waits</source>
   <translation>Wartendes suchen</translation>
  </message>
  <message>
   <source>Find what waits (Ctrl+F)</source>
   <translation>Wartendes suchen (Strg+F)</translation>
  </message>
  <message>
   <source>Fitting workers</source>
   <translation>Passende Worker</translation>
  </message>
  <message>
   <source>GPU</source>
   <translation>GPU</translation>
  </message>
  <message>
   <source>GPUs</source>
   <translation>GPUs</translation>
  </message>
  <message>
   <source>Hardware</source>
   <translation>Hardware</translation>
  </message>
  <message>
   <source>Have it lead</source>
   <translation>Führen lassen</translation>
  </message>
  <message>
   <source>Heard of</source>
   <translation>Zu hören</translation>
  </message>
  <message>
   <source>Heat</source>
   <translation>Wärme</translation>
  </message>
  <message>
   <source>Host</source>
   <translation>Rechner</translation>
  </message>
  <message>
   <source>How busy it is</source>
   <translation>Wie beschäftigt er ist</translation>
  </message>
  <message>
   <source>How busy {name} is</source>
   <translation>Wie beschäftigt {name} ist</translation>
  </message>
  <message>
   <source>In all runs</source>
   <translation>In allen Läufen</translation>
  </message>
  <message>
   <source>In all runs, on all hardware</source>
   <translation>In allen Läufen, auf aller Hardware</translation>
  </message>
  <message>
   <source>It hands over what it holds, and ends.</source>
   <translation>Er gibt ab, was er hält, und endet.</translation>
  </message>
  <message>
   <source>It hands over what it holds, and ends. What it runs begins anew elsewhere.</source>
   <translation>Er gibt ab, was er hält, und endet. Was er ausführt, beginnt anderswo von vorn.</translation>
  </message>
  <message>
   <source>It has not ended in any run.</source>
   <translation>Er ist in keinem Lauf zu Ende gegangen.</translation>
  </message>
  <message>
   <source>It is sent nothing more; what it runs goes on.</source>
   <translation>Er bekommt nichts mehr; was er ausführt, geht weiter.</translation>
  </message>
  <message>
   <source>It is sent work again.</source>
   <translation>Er bekommt wieder Arbeit.</translation>
  </message>
  <message>
   <source>It left no files.</source>
   <translation>Er hat keine Dateien hinterlassen.</translation>
  </message>
  <message>
   <source>It left nothing here.</source>
   <translation>Hier hat er nichts hinterlassen.</translation>
  </message>
  <message>
   <source>It waits for</source>
   <translation>Es wartet auf</translation>
  </message>
  <message>
   <source>Its pages</source>
   <translation>Seine Seiten</translation>
  </message>
  <message>
   <source>Its scheduler</source>
   <translation>Sein Scheduler</translation>
  </message>
  <message>
   <source>Keep the token in the keyring of this system</source>
   <translation>Das Token im Schlüsselbund dieses Systems behalten</translation>
  </message>
  <message>
   <source>Kind</source>
   <translation>Art</translation>
  </message>
  <message>
   <source>Kinds of work that wait</source>
   <translation>Arten wartender Arbeit</translation>
  </message>
  <message>
   <source>Laid over the tests</source>
   <translation>Über die Tests gelegt</translation>
  </message>
  <message>
   <source>Leader</source>
   <translation>Führender</translation>
  </message>
  <message>
   <source>Leave it</source>
   <translation>Lassen</translation>
  </message>
  <message>
   <source>Led after</source>
   <translation>Führte nach</translation>
  </message>
  <message>
   <source>Left to begin</source>
   <translation>Zeit zum Beginn</translation>
  </message>
  <message>
   <source>Let it go on</source>
   <translation>Weiterlaufen lassen</translation>
  </message>
  <message>
   <source>Level</source>
   <translation>Stufe</translation>
  </message>
  <message>
   <source>Light</source>
   <translation>Hell</translation>
  </message>
  <message>
   <source>Log</source>
   <translation>Protokoll</translation>
  </message>
  <message>
   <source>Longest</source>
   <translation>Längste</translation>
  </message>
  <message>
   <source>Look</source>
   <translation>Ansehen</translation>
  </message>
  <message>
   <source>Look &amp;back</source>
   <translation>Zurück&amp;blicken</translation>
  </message>
  <message>
   <source>Look at a cluster</source>
   <translation>Einen Cluster ansehen</translation>
  </message>
  <message>
   <source>Looking back</source>
   <translation>Rückblick</translation>
  </message>
  <message>
   <source>Looking for clusters on this machine …</source>
   <translation>Cluster auf dieser Maschine werden gesucht …</translation>
  </message>
  <message>
   <source>Memory</source>
   <translation>Speicher</translation>
  </message>
  <message>
   <source>Missed</source>
   <translation>Versäumt</translation>
  </message>
  <message>
   <source>Needs</source>
   <translation>Braucht</translation>
  </message>
  <message>
   <source>Network</source>
   <translation>Netz</translation>
  </message>
  <message>
   <source>Next</source>
   <translation>Weiter</translation>
  </message>
  <message>
   <source>No attempt of it is known.</source>
   <translation>Kein Versuch ist bekannt.</translation>
  </message>
  <message>
   <source>No case is chosen</source>
   <translation>Kein Testfall gewählt</translation>
  </message>
  <message>
   <source>No case is shown.</source>
   <translation>Kein Testfall ist zu sehen.</translation>
  </message>
  <message>
   <source>No case of this run has begun yet.</source>
   <translation>Noch hat kein Testfall dieses Laufs begonnen.</translation>
  </message>
  <message>
   <source>No class has had work yet.</source>
   <translation>Noch keine Klasse hatte Arbeit.</translation>
  </message>
  <message>
   <source>No cluster shows itself on this machine. One does that is started with: dtf dev --web 8700</source>
   <translation>Auf dieser Maschine zeigt sich kein Cluster. Einer, der so gestartet wird, tut es: dtf dev --web 8700</translation>
  </message>
  <message>
   <source>No coordinator has said anything yet.</source>
   <translation>Noch hat kein Koordinator etwas gesagt.</translation>
  </message>
  <message>
   <source>No coordinator is known.</source>
   <translation>Kein Koordinator ist bekannt.</translation>
  </message>
  <message>
   <source>No run is chosen.</source>
   <translation>Kein Lauf ist gewählt.</translation>
  </message>
  <message>
   <source>No run of tests was seen of late.</source>
   <translation>Zuletzt war kein Testlauf zu sehen.</translation>
  </message>
  <message>
   <source>No.</source>
   <translation>Nr.</translation>
  </message>
  <message>
   <source>Nobody has had to take over in the time that is kept.</source>
   <translation>In der aufgehobenen Zeit musste niemand übernehmen.</translation>
  </message>
  <message>
   <source>Nobody leads (term {term})</source>
   <translation>Niemand führt (Amtszeit {term})</translation>
  </message>
  <message>
   <source>Nobody leads for a moment, mostly less than a second. What runs goes on.</source>
   <translation>Einen Moment lang führt niemand, meist kürzer als eine Sekunde. Was läuft, geht weiter.</translation>
  </message>
  <message>
   <source>Not back</source>
   <translation>Nicht zurück</translation>
  </message>
  <message>
   <source>Nothing has been heard yet.</source>
   <translation>Noch ist nichts bekannt.</translation>
  </message>
  <message>
   <source>Nothing is kept yet.</source>
   <translation>Noch ist nichts aufgehoben.</translation>
  </message>
  <message>
   <source>Nothing new for {age}: {why}. What you see is of {time}.</source>
   <translation>Seit {age} nichts Neues: {why}. Was zu sehen ist, ist von {time}.</translation>
  </message>
  <message>
   <source>Nothing ran here.</source>
   <translation>Hier lief nichts.</translation>
  </message>
  <message>
   <source>Nothing waits.</source>
   <translation>Nichts wartet.</translation>
  </message>
  <message>
   <source>Nothing was asked for of late, by anybody.</source>
   <translation>In letzter Zeit wurde nichts verlangt.</translation>
  </message>
  <message>
   <source>Notify me of new alerts</source>
   <translation>Neue Meldungen anzeigen</translation>
  </message>
  <message>
   <source>Now</source>
   <translation>Jetzt</translation>
  </message>
  <message>
   <source>Of</source>
   <translation>Von</translation>
  </message>
  <message>
   <source>On this machine, and of late</source>
   <translation>Auf dieser Maschine und zuletzt</translation>
  </message>
  <message>
   <source>Or an address</source>
   <translation>Oder eine Adresse</translation>
  </message>
  <message>
   <source>Outcome</source>
   <translation>Ergebnis</translation>
  </message>
  <message>
   <source>Output</source>
   <translation>Ausgabe</translation>
  </message>
  <message>
   <source>Overview</source>
   <translation>Überblick</translation>
  </message>
  <message>
   <source>Priority &amp;class</source>
   <translation>Vorrang&amp;klasse</translation>
  </message>
  <message>
   <source>Priority classes</source>
   <translation>Vorrangklassen</translation>
  </message>
  <message>
   <source>Quarantine</source>
   <translation>Quarantäne</translation>
  </message>
  <message>
   <source>Queue</source>
   <translation>Warteschlange</translation>
  </message>
  <message>
   <source>Queue by class</source>
   <translation>Warteschlange nach Klasse</translation>
  </message>
  <message>
   <source>Queue: tasks that wait, by class</source>
   <translation>Warteschlange: wartende Aufgaben, nach Klasse</translation>
  </message>
  <message>
   <source>Reasons</source>
   <translation>Gründe</translation>
  </message>
  <message>
   <source>Release</source>
   <translation>Freigeben</translation>
  </message>
  <message>
   <source>Reprioritise</source>
   <translation>Vorrang ändern</translation>
  </message>
  <message>
   <source>Reprioritise the next one …</source>
   <translation>Vorrang der nächsten ändern …</translation>
  </message>
  <message>
   <source>Retire</source>
   <translation>Ausmustern</translation>
  </message>
  <message>
   <source>Role</source>
   <translation>Rolle</translation>
  </message>
  <message>
   <source>Rule</source>
   <translation>Regel</translation>
  </message>
  <message>
   <source>Run</source>
   <translation>Lauf</translation>
  </message>
  <message>
   <source>Run of</source>
   <translation>Lauf vom</translation>
  </message>
  <message>
   <source>Running</source>
   <translation>Laufen</translation>
  </message>
  <message>
   <source>Runs</source>
   <translation>Läufe</translation>
  </message>
  <message>
   <source>Runs now</source>
   <translation>Führt jetzt aus</translation>
  </message>
  <message>
   <source>Runs of late</source>
   <translation>Letzte Läufe</translation>
  </message>
  <message>
   <source>Save the &amp;run …</source>
   <translation>&amp;Lauf speichern …</translation>
  </message>
  <message>
   <source>Save the chart</source>
   <translation>Diagramm speichern</translation>
  </message>
  <message>
   <source>Save the chart …</source>
   <translation>Diagramm speichern …</translation>
  </message>
  <message>
   <source>Save the run</source>
   <translation>Lauf speichern</translation>
  </message>
  <message>
   <source>Save the table</source>
   <translation>Tabelle speichern</translation>
  </message>
  <message>
   <source>Saved: {path}</source>
   <translation>Gespeichert: {path}</translation>
  </message>
  <message>
   <source>Say what is to be otherwise.</source>
   <translation>Sagen Sie, was anders werden soll.</translation>
  </message>
  <message>
   <source>Share</source>
   <translation>Anteil</translation>
  </message>
  <message>
   <source>Show only: {outcome}</source>
   <translation>Nur zeigen: {outcome}</translation>
  </message>
  <message>
   <source>Since</source>
   <translation>Seit</translation>
  </message>
  <message>
   <source>Size</source>
   <translation>Größe</translation>
  </message>
  <message>
   <source>Speed</source>
   <translation>Tempo</translation>
  </message>
  <message>
   <source>Standing</source>
   <translation>Stand</translation>
  </message>
  <message>
   <source>Started</source>
   <translation>Begonnen</translation>
  </message>
  <message>
   <source>Status</source>
   <translation>Stand</translation>
  </message>
  <message>
   <source>Stop the run</source>
   <translation>Lauf beenden</translation>
  </message>
  <message>
   <source>Suite</source>
   <translation>Suite</translation>
  </message>
  <message>
   <source>Tasks</source>
   <translation>Aufgaben</translation>
  </message>
  <message>
   <source>Tasks kept</source>
   <translation>Aufgaben behalten</translation>
  </message>
  <message>
   <source>Tasks that need it are cancelled, too, whoever wants them. That is not undone.</source>
   <translation>Aufgaben, die sie brauchen, werden auch abgebrochen, wer sie auch will. Das wird nicht rückgängig gemacht.</translation>
  </message>
  <message>
   <source>Tenant</source>
   <translation>Mandant</translation>
  </message>
  <message>
   <source>Term</source>
   <translation>Amtszeit</translation>
  </message>
  <message>
   <source>Term {term}, {at}: nobody led for {time} (the band).</source>
   <translation>Amtszeit {term}, {at}: Niemand führte {time} lang (das Band).</translation>
  </message>
  <message>
   <source>Tests that ran while the leader changed</source>
   <translation>Tests, die liefen, als der Führende wechselte</translation>
  </message>
  <message>
   <source>The change after</source>
   <translation>Die nächste Änderung</translation>
  </message>
  <message>
   <source>The change before</source>
   <translation>Die Änderung davor</translation>
  </message>
  <message>
   <source>The queue holds {n} of at most {m}.</source>
   <translation>In der Schlange stehen {n} von höchstens {m}.</translation>
  </message>
  <message>
   <source>There are no alerts.</source>
   <translation>Es gibt keine Warnungen.</translation>
  </message>
  <message>
   <source>There are no runs yet: `dtf run` and `pytest --dtf` make some.</source>
   <translation>Es gibt noch keine Läufe: `dtf run` und `pytest --dtf` machen welche.</translation>
  </message>
  <message>
   <source>There are no workers: `dtf worker ADDRESS` starts some.</source>
   <translation>Es gibt keine Worker: `dtf worker ADRESSE` startet welche.</translation>
  </message>
  <message>
   <source>There is no table here.</source>
   <translation>Hier ist keine Tabelle.</translation>
  </message>
  <message>
   <source>This desktop has no place for notifications.</source>
   <translation>Diese Oberfläche hat keinen Platz für Meldungen.</translation>
  </message>
  <message>
   <source>This scheduler is alone: nobody takes over when it ends.</source>
   <translation>Dieser Scheduler ist allein: Niemand übernimmt, wenn er endet.</translation>
  </message>
  <message>
   <source>Threads taken</source>
   <translation>Threads belegt</translation>
  </message>
  <message>
   <source>Throughput</source>
   <translation>Durchsatz</translation>
  </message>
  <message>
   <source>Throughput: tasks that end in a second</source>
   <translation>Durchsatz: Aufgaben, die je Sekunde enden</translation>
  </message>
  <message>
   <source>Time shown: {span}</source>
   <translation>Gezeigte Zeit: {span}</translation>
  </message>
  <message>
   <source>Time that is looked at</source>
   <translation>Angesehene Zeit</translation>
  </message>
  <message>
   <source>Token</source>
   <translation>Token</translation>
  </message>
  <message>
   <source>Token, as the cluster gave it to you</source>
   <translation>Token, wie der Cluster es ausgegeben hat</translation>
  </message>
  <message>
   <source>Took</source>
   <translation>Dauer</translation>
  </message>
  <message>
   <source>Traceback</source>
   <translation>Traceback</translation>
  </message>
  <message>
   <source>Try again</source>
   <translation>Noch einmal</translation>
  </message>
  <message>
   <source>Undo</source>
   <translation>Rückgängig</translation>
  </message>
  <message>
   <source>Undo the last action</source>
   <translation>Die letzte Handlung rückgängig machen</translation>
  </message>
  <message>
   <source>Utilisation</source>
   <translation>Auslastung</translation>
  </message>
  <message>
   <source>Utilisation: what is taken</source>
   <translation>Auslastung: was belegt ist</translation>
  </message>
  <message>
   <source>Views</source>
   <translation>Ansichten</translation>
  </message>
  <message>
   <source>Votes</source>
   <translation>Stimmt ab</translation>
  </message>
  <message>
   <source>Waiting</source>
   <translation>Warten</translation>
  </message>
  <message>
   <source>What came of it</source>
   <translation>Was daraus wurde</translation>
  </message>
  <message>
   <source>What has ended is kept; the rest is not run.</source>
   <translation>Was zu Ende ist, bleibt; der Rest wird nicht ausgeführt.</translation>
  </message>
  <message>
   <source>What is wrong</source>
   <translation>Was nicht stimmt</translation>
  </message>
  <message>
   <source>What it has written so far</source>
   <translation>Was er bisher geschrieben hat</translation>
  </message>
  <message>
   <source>What ran where</source>
   <translation>Was wo lief</translation>
  </message>
  <message>
   <source>What ran where in the last 10 minutes</source>
   <translation>Was in den letzten 10 Minuten wo lief</translation>
  </message>
  <message>
   <source>What the attempt left</source>
   <translation>Was der Versuch hinterließ</translation>
  </message>
  <message>
   <source>What waits, the most urgent first</source>
   <translation>Was wartet, das Dringendste zuerst</translation>
  </message>
  <message>
   <source>What was asked for</source>
   <translation>Was verlangt wurde</translation>
  </message>
  <message>
   <source>What would help</source>
   <translation>Was helfen würde</translation>
  </message>
  <message>
   <source>When</source>
   <translation>Wann</translation>
  </message>
  <message>
   <source>When a leader dies, what ran meanwhile is shown here.</source>
   <translation>Wenn ein Führender stirbt, steht hier, was währenddessen lief.</translation>
  </message>
  <message>
   <source>Who</source>
   <translation>Wer</translation>
  </message>
  <message>
   <source>Why</source>
   <translation>Warum</translation>
  </message>
  <message>
   <source>Why is it pending?</source>
   <translation>Warum wartet es?</translation>
  </message>
  <message>
   <source>Why it waits</source>
   <translation>Warum es wartet</translation>
  </message>
  <message>
   <source>Why {name} gets no work, for those who see it:</source>
   <translation>Warum {name} keine Arbeit bekommt, für alle, die es sehen:</translation>
  </message>
  <message>
   <source>Without leader</source>
   <translation>Ohne Führenden</translation>
  </message>
  <message>
   <source>Worker</source>
   <translation>Worker</translation>
  </message>
  <message>
   <source>Workers</source>
   <translation>Worker</translation>
  </message>
  <message>
   <source>You look at {time}. What happens now is kept meanwhile. Back to now: Ctrl+L.</source>
   <translation>Zu sehen ist {time}. Was jetzt geschieht, wird so lange aufgehoben. Zurück zu jetzt: Strg+L.</translation>
  </message>
  <message>
   <source>a defect of the monitor</source>
   <translation>ein Fehler des Monitors</translation>
  </message>
  <message>
   <source>a dtf is there that does not serve this version of the API; the monitor and the cluster are of versions that do not go together</source>
   <translation>dort ist ein dtf, das diese Version der API nicht anbietet; Monitor und Cluster haben Versionen, die nicht zusammenpassen</translation>
  </message>
  <message>
   <source>a password is not written into an address</source>
   <translation>ein Passwort gehört nicht in eine Adresse</translation>
  </message>
  <message>
   <source>about {time}</source>
   <translation>etwa {time}</translation>
  </message>
  <message>
   <source>another cluster is looked at</source>
   <translation>ein anderer Cluster wird angesehen</translation>
  </message>
  <message>
   <source>another cluster is there now</source>
   <translation>dort ist jetzt ein anderer Cluster</translation>
  </message>
  <message>
   <source>another cluster is there than before</source>
   <translation>dort ist ein anderer Cluster als zuvor</translation>
  </message>
  <message>
   <source>any worker</source>
   <translation>irgendein Worker</translation>
  </message>
  <message>
   <source>as it is</source>
   <translation>wie es ist</translation>
  </message>
  <message>
   <source>as it is; or: 10 min</source>
   <translation>wie es ist; oder: 10 min</translation>
  </message>
  <message>
   <source>ask the leader</source>
   <translation>den Führenden fragen</translation>
  </message>
  <message>
   <source>bars: {n}, rows: {m}, from {start} to {end}</source>
   <translation>Balken: {n}, Zeilen: {m}, von {start} bis {end}</translation>
  </message>
  <message>
   <source>begun</source>
   <translation>begonnen</translation>
  </message>
  <message>
   <source>busy, of {n}</source>
   <translation>beschäftigt, von {n}</translation>
  </message>
  <message>
   <source>closed</source>
   <translation>zu</translation>
  </message>
  <message>
   <source>critical</source>
   <translation>kritisch</translation>
  </message>
  <message>
   <source>done</source>
   <translation>erledigt</translation>
  </message>
  <message>
   <source>dtf monitor</source>
   <translation>dtf-Monitor</translation>
  </message>
  <message>
   <source>dtf monitor {version}</source>
   <translation>dtf-Monitor {version}</translation>
  </message>
  <message>
   <source>dtf: alerts</source>
   <translation>dtf: Meldungen</translation>
  </message>
  <message>
   <source>dtf: {rule}</source>
   <translation>dtf: {rule}</translation>
  </message>
  <message>
   <source>ended</source>
   <translation>beendet</translation>
  </message>
  <message>
   <source>ended once</source>
   <translation>einmal beendet</translation>
  </message>
  <message>
   <source>ended {n} times</source>
   <translation>{n}-mal geendet</translation>
  </message>
  <message>
   <source>error</source>
   <translation>Fehler</translation>
  </message>
  <message>
   <source>failed</source>
   <translation>fehlgeschlagen</translation>
  </message>
  <message>
   <source>flaky</source>
   <translation>wackelig</translation>
  </message>
  <message>
   <source>follower</source>
   <translation>folgt</translation>
  </message>
  <message>
   <source>found once</source>
   <translation>einmal gefunden</translation>
  </message>
  <message>
   <source>found {n} times</source>
   <translation>{n}-mal gefunden</translation>
  </message>
  <message>
   <source>half-open</source>
   <translation>halb offen</translation>
  </message>
  <message>
   <source>interrupted</source>
   <translation>unterbrochen</translation>
  </message>
  <message>
   <source>it asks for a token, and was shown none that it takes</source>
   <translation>er fragt nach einem Token, und keines, das er annimmt, wurde gezeigt</translation>
  </message>
  <message>
   <source>it begins with neither http:// nor https://</source>
   <translation>sie beginnt weder mit http:// noch mit https://</translation>
  </message>
  <message>
   <source>it does not answer</source>
   <translation>er antwortet nicht</translation>
  </message>
  <message>
   <source>it does not speak TLS as it should</source>
   <translation>er spricht TLS nicht, wie er sollte</translation>
  </message>
  <message>
   <source>it has begun, and takes longer</source>
   <translation>es hat begonnen und dauert länger</translation>
  </message>
  <message>
   <source>it hung up</source>
   <translation>er hat aufgelegt</translation>
  </message>
  <message>
   <source>it is not there</source>
   <translation>das steht dort nicht</translation>
  </message>
  <message>
   <source>it knows nobody who leads</source>
   <translation>er kennt niemanden, der führt</translation>
  </message>
  <message>
   <source>it names no machine</source>
   <translation>sie nennt keine Maschine</translation>
  </message>
  <message>
   <source>it says nothing any more</source>
   <translation>er sagt nichts mehr</translation>
  </message>
  <message>
   <source>it tells what is no JSON</source>
   <translation>er sagt etwas, das kein JSON ist</translation>
  </message>
  <message>
   <source>its certificate is not trusted</source>
   <translation>seinem Zertifikat wird nicht vertraut</translation>
  </message>
  <message>
   <source>its circuit breaker is {state}</source>
   <translation>sein Schutzschalter ist {state}</translation>
  </message>
  <message>
   <source>its node hangs</source>
   <translation>sein Knoten hängt</translation>
  </message>
  <message>
   <source>leader</source>
   <translation>führt</translation>
  </message>
  <message>
   <source>left</source>
   <translation>gegangen</translation>
  </message>
  <message>
   <source>left to begin</source>
   <translation>bis zum Beginn</translation>
  </message>
  <message>
   <source>lost</source>
   <translation>verloren</translation>
  </message>
  <message>
   <source>memory</source>
   <translation>Speicher</translation>
  </message>
  <message>
   <source>next: {key}</source>
   <translation>als Nächstes: {key}</translation>
  </message>
  <message>
   <source>no</source>
   <translation>nein</translation>
  </message>
  <message>
   <source>no answer in time</source>
   <translation>keine rechtzeitige Antwort</translation>
  </message>
  <message>
   <source>no cluster is looked at</source>
   <translation>es wird kein Cluster angesehen</translation>
  </message>
  <message>
   <source>no deadline</source>
   <translation>keine Frist</translation>
  </message>
  <message>
   <source>no numbers yet</source>
   <translation>noch keine Zahlen</translation>
  </message>
  <message>
   <source>nobody is there</source>
   <translation>niemand ist da</translation>
  </message>
  <message>
   <source>nobody leads</source>
   <translation>niemand führt</translation>
  </message>
  <message>
   <source>nobody listens there</source>
   <translation>dort hört niemand zu</translation>
  </message>
  <message>
   <source>none</source>
   <translation>keiner</translation>
  </message>
  <message>
   <source>none is seen</source>
   <translation>keine zu sehen</translation>
  </message>
  <message>
   <source>none yet</source>
   <translation>noch keine</translation>
  </message>
  <message>
   <source>nothing is wrong</source>
   <translation>alles in Ordnung</translation>
  </message>
  <message>
   <source>nothing that has a deadline has waited</source>
   <translation>nichts, was eine Frist hat, hat gewartet</translation>
  </message>
  <message>
   <source>odd</source>
   <translation>seltsam</translation>
  </message>
  <message>
   <source>of all workers'</source>
   <translation>aller Worker</translation>
  </message>
  <message>
   <source>of {n}</source>
   <translation>von {n}</translation>
  </message>
  <message>
   <source>on {n} thread</source>
   <translation>auf {n} Thread</translation>
  </message>
  <message>
   <source>on {n} threads</source>
   <translation>auf {n} Threads</translation>
  </message>
  <message>
   <source>only the end of it is shown</source>
   <translation>nur das Ende ist zu sehen</translation>
  </message>
  <message>
   <source>open</source>
   <translation>offen</translation>
  </message>
  <message>
   <source>passed</source>
   <translation>bestanden</translation>
  </message>
  <message>
   <source>paused</source>
   <translation>pausiert</translation>
  </message>
  <message>
   <source>refused</source>
   <translation>abgelehnt</translation>
  </message>
  <message>
   <source>run {run}</source>
   <translation>Lauf {run}</translation>
  </message>
  <message>
   <source>running</source>
   <translation>läuft</translation>
  </message>
  <message>
   <source>schedulers are there; say where the pages of the cluster are, as `dtf dev --web 8700` or `dtf coordinator --web 8700` serves them</source>
   <translation>dort sind Scheduler; nennen Sie, wo die Seiten des Clusters sind, wie `dtf dev --web 8700` oder `dtf coordinator --web 8700` sie anbietet</translation>
  </message>
  <message>
   <source>shut</source>
   <translation>gesperrt</translation>
  </message>
  <message>
   <source>skipped</source>
   <translation>übersprungen</translation>
  </message>
  <message>
   <source>something answers there, and it does not speak HTTP</source>
   <translation>dort antwortet etwas, und es spricht kein HTTP</translation>
  </message>
  <message>
   <source>something answers there, and it is no dtf</source>
   <translation>dort antwortet etwas, und es ist kein dtf</translation>
  </message>
  <message>
   <source>that is no address</source>
   <translation>das ist keine Adresse</translation>
  </message>
  <message>
   <source>the answer is too large</source>
   <translation>die Antwort ist zu groß</translation>
  </message>
  <message>
   <source>the connection broke</source>
   <translation>die Verbindung ist abgebrochen</translation>
  </message>
  <message>
   <source>the token is not kept</source>
   <translation>das Token wird nicht aufbewahrt</translation>
  </message>
  <message>
   <source>there is no machine of that name</source>
   <translation>es gibt keine Maschine dieses Namens</translation>
  </message>
  <message>
   <source>this machine was asleep</source>
   <translation>diese Maschine hat geschlafen</translation>
  </message>
  <message>
   <source>this system has no keyring</source>
   <translation>dieses System hat keinen Schlüsselbund</translation>
  </message>
  <message>
   <source>threads</source>
   <translation>Threads</translation>
  </message>
  <message>
   <source>timeout</source>
   <translation>Zeit überschritten</translation>
  </message>
  <message>
   <source>to be read: {n}</source>
   <translation>noch zu lesen: {n}</translation>
  </message>
  <message>
   <source>unknown</source>
   <translation>unbekannt</translation>
  </message>
  <message>
   <source>warning</source>
   <translation>Warnung</translation>
  </message>
  <message>
   <source>what is answered is not understood</source>
   <translation>die Antwort wird nicht verstanden</translation>
  </message>
  <message>
   <source>who leads tells nothing</source>
   <translation>wer führt, sagt nichts</translation>
  </message>
  <message>
   <source>yes</source>
   <translation>ja</translation>
  </message>
  <message>
   <source>{first}; most cannot be reached.</source>
   <translation>{first}; die meisten sind nicht erreichbar.</translation>
  </message>
  <message>
   <source>{first}; none may fail.</source>
   <translation>{first}; keiner darf ausfallen.</translation>
  </message>
  <message>
   <source>{first}; one may fail.</source>
   <translation>{first}; einer darf ausfallen.</translation>
  </message>
  <message>
   <source>{first}; {n} may fail.</source>
   <translation>{first}; {n} dürfen ausfallen.</translation>
  </message>
  <message>
   <source>{glyph} {age} old</source>
   <translation>{glyph} {age} alt</translation>
  </message>
  <message>
   <source>{kind}: {n} passed, {m} not</source>
   <translation>{kind}: {n} bestanden, {m} nicht</translation>
  </message>
  <message>
   <source>{name} (read from)</source>
   <translation>{name} (von hier gelesen)</translation>
  </message>
  <message>
   <source>{name} leads</source>
   <translation>{name} führt</translation>
  </message>
  <message>
   <source>{name} leads in term {term}</source>
   <translation>{name} führt in Amtszeit {term}</translation>
  </message>
  <message>
   <source>{name}, on this machine: {where}</source>
   <translation>{name}, auf dieser Maschine: {where}</translation>
  </message>
  <message>
   <source>{n} GPU</source>
   <translation>{n} GPU</translation>
  </message>
  <message>
   <source>{n} GPUs</source>
   <translation>{n} GPUs</translation>
  </message>
  <message>
   <source>{n} alert</source>
   <translation>{n} Meldung</translation>
  </message>
  <message>
   <source>{n} alerts</source>
   <translation>{n} Meldungen</translation>
  </message>
  <message>
   <source>{n} failed in all</source>
   <translation>{n} insgesamt fehlgeschlagen</translation>
  </message>
  <message>
   <source>{n} gone of late</source>
   <translation>{n} neulich gegangen</translation>
  </message>
  <message>
   <source>{n} held back</source>
   <translation>{n} zurückgehalten</translation>
  </message>
  <message>
   <source>{n} lost of late</source>
   <translation>{n} zuletzt verloren</translation>
  </message>
  <message>
   <source>{n} missed</source>
   <translation>{n} verpasst</translation>
  </message>
  <message>
   <source>{n} of {m}</source>
   <translation>{n} von {m}</translation>
  </message>
  <message>
   <source>{n} of {m} case</source>
   <translation>{n} von {m} Testfall</translation>
  </message>
  <message>
   <source>{n} of {m} cases</source>
   <translation>{n} von {m} Testfällen</translation>
  </message>
  <message>
   <source>{n} task waits.</source>
   <translation>{n} Aufgabe wartet.</translation>
  </message>
  <message>
   <source>{n} tasks wait.</source>
   <translation>{n} Aufgaben warten.</translation>
  </message>
  <message>
   <source>{n} thread</source>
   <translation>{n} Thread</translation>
  </message>
  <message>
   <source>{n} threads</source>
   <translation>{n} Threads</translation>
  </message>
  <message>
   <source>{n} worker</source>
   <translation>{n} Worker</translation>
  </message>
  <message>
   <source>{n} workers</source>
   <translation>{n} Worker</translation>
  </message>
  <message>
   <source>{path} cannot be written</source>
   <translation>{path} kann nicht geschrieben werden</translation>
  </message>
  <message>
   <source>{run}: {n} of {m} cases are read</source>
   <translation>{run}: {n} von {m} Testfällen gelesen</translation>
  </message>
  <message>
   <source>{size}/s</source>
   <translation>{size}/s</translation>
  </message>
  <message>
   <source>{span} are kept</source>
   <translation>{span} sind aufgehoben</translation>
  </message>
  <message>
   <source>{suite}, run {run}</source>
   <translation>{suite}, Lauf {run}</translation>
  </message>
  <message>
   <source>{time}, {ago} ago</source>
   <translation>{time}, vor {ago}</translation>
  </message>
  <message>
   <source>{what}: asked …</source>
   <translation>{what}: verlangt …</translation>
  </message>
  <message>
   <source>{what}: {outcome}, on {row}, {start}, {took}</source>
   <translation>{what}: {outcome}, auf {row}, {start}, {took}</translation>
  </message>
  <message>
   <source>{what}?</source>
   <translation>{what}?</translation>
  </message>
  <message>
   <source>{where}: {why}. Another address: Ctrl+O.</source>
   <translation>{where}: {why}. Eine andere Adresse: Strg+O.</translation>
  </message>
  <message>
   <source>… and {n} more</source>
   <translation>… und {n} weitere</translation>
  </message>
  <message>
   <source>○ Looking for a cluster …</source>
   <translation>○ Ein Cluster wird gesucht …</translation>
  </message>
  <message>
   <source>○ No cluster is looked at. Choose one: Ctrl+O.</source>
   <translation>○ Kein Cluster wird angesehen. Einen wählen: Strg+O.</translation>
  </message>
  <message>
   <source>○ {where}: {why}</source>
   <translation>○ {where}: {why}</translation>
  </message>
  <message>
   <source>● Live from {where}</source>
   <translation>● Live von {where}</translation>
  </message>
  <message>
   <source>◐ Connecting to {where} …</source>
   <translation>◐ Verbindung mit {where} …</translation>
  </message>
  <message>
   <source>◐ {where}: {why}</source>
   <translation>◐ {where}: {why}</translation>
  </message>
  <message>
   <source>✓ Nothing is wrong.</source>
   <translation>✓ Alles in Ordnung.</translation>
  </message>
 </context>
</TS>
