<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="fr" sourcelanguage="en">
 <context>
  <name>monitor</name>
  <message>
   <source>&amp;About</source>
   <translation>À &amp;propos</translation>
  </message>
  <message>
   <source>&amp;Cluster</source>
   <translation>&amp;Grappe</translation>
  </message>
  <message>
   <source>&amp;Deadline from now on</source>
   <translation>&amp;Échéance à partir d’ici</translation>
  </message>
  <message>
   <source>&amp;Find</source>
   <translation>&amp;Rechercher</translation>
  </message>
  <message>
   <source>&amp;Help</source>
   <translation>&amp;Aide</translation>
  </message>
  <message>
   <source>&amp;Look at …</source>
   <translation>&amp;Observer …</translation>
  </message>
  <message>
   <source>&amp;Notify me of new alerts</source>
   <translation>M’&amp;avertir des nouvelles alertes</translation>
  </message>
  <message>
   <source>&amp;Priority within it</source>
   <translation>&amp;Priorité dans la classe</translation>
  </message>
  <message>
   <source>&amp;Quit</source>
   <translation>&amp;Quitter</translation>
  </message>
  <message>
   <source>&amp;Save the table …</source>
   <translation>&amp;Enregistrer le tableau …</translation>
  </message>
  <message>
   <source>&amp;View</source>
   <translation>&amp;Affichage</translation>
  </message>
  <message>
   <source>, critical: {n}</source>
   <translation>, critiques : {n}</translation>
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
   <translation>7 jours</translation>
  </message>
  <message>
   <source>A priority is a number.</source>
   <translation>Une priorité est un nombre.</translation>
  </message>
  <message>
   <source>A token has no spaces, and no accents.</source>
   <translation>Un jeton n’a ni espaces ni accents.</translation>
  </message>
  <message>
   <source>Action</source>
   <translation>Action</translation>
  </message>
  <message>
   <source>Address</source>
   <translation>Adresse</translation>
  </message>
  <message>
   <source>Alerts</source>
   <translation>Alertes</translation>
  </message>
  <message>
   <source>All back after</source>
   <translation>Tous revenus après</translation>
  </message>
  <message>
   <source>All that fit are busy: it is its turn next.</source>
   <translation>Tous ceux qui conviennent sont occupés : c’est son tour ensuite.</translation>
  </message>
  <message>
   <source>Artifacts</source>
   <translation>Artefacts</translation>
  </message>
  <message>
   <source>As the system</source>
   <translation>Comme le système</translation>
  </message>
  <message>
   <source>Attempts</source>
   <translation>Tentatives</translation>
  </message>
  <message>
   <source>Attempts in this run</source>
   <translation>Tentatives dans cette exécution</translation>
  </message>
  <message>
   <source>Back to &amp;now</source>
   <translation>Revenir à &amp;maintenant</translation>
  </message>
  <message>
   <source>Back to now (Ctrl+L)</source>
   <translation>Revenir à maintenant (Ctrl+L)</translation>
  </message>
  <message>
   <source>Before</source>
   <translation>Précédent</translation>
  </message>
  <message>
   <source>Begins in</source>
   <translation>Commence dans</translation>
  </message>
  <message>
   <source>CPU</source>
   <translation>CPU</translation>
  </message>
  <message>
   <source>Cancel</source>
   <translation>Annuler</translation>
  </message>
  <message>
   <source>Cancel the next one …</source>
   <translation>Annuler la prochaine …</translation>
  </message>
  <message>
   <source>Case</source>
   <translation>Cas</translation>
  </message>
  <message>
   <source>Cases</source>
   <translation>Cas</translation>
  </message>
  <message>
   <source>Cases of {run}</source>
   <translation>Cas de {run}</translation>
  </message>
  <message>
   <source>Choose one in the view of runs, and press Enter.</source>
   <translation>En choisir un dans la vue des exécutions, puis appuyer sur Entrée.</translation>
  </message>
  <message>
   <source>Choose one, or write where one is.</source>
   <translation>En choisir une, ou écrire où elle se trouve.</translation>
  </message>
  <message>
   <source>Class</source>
   <translation>Classe</translation>
  </message>
  <message>
   <source>Clusters on this machine, and of late</source>
   <translation>Grappes de cette machine, et récentes</translation>
  </message>
  <message>
   <source>Coordinator</source>
   <translation>Coordinateur</translation>
  </message>
  <message>
   <source>Coordinators</source>
   <translation>Coordinateurs</translation>
  </message>
  <message>
   <source>Dark</source>
   <translation>Sombre</translation>
  </message>
  <message>
   <source>Deadline slack</source>
   <translation>Marge avant échéance</translation>
  </message>
  <message>
   <source>Deadline slack: time left to begin</source>
   <translation>Marge avant échéance : temps pour commencer</translation>
  </message>
  <message>
   <source>Deadlines met</source>
   <translation>Échéances tenues</translation>
  </message>
  <message>
   <source>Digest</source>
   <translation>Empreinte</translation>
  </message>
  <message>
   <source>Disk</source>
   <translation>Disque</translation>
  </message>
  <message>
   <source>Done</source>
   <translation>Fait</translation>
  </message>
  <message>
   <source>Due</source>
   <translation>Dû</translation>
  </message>
  <message>
   <source>Earlier runs, this one last</source>
   <translation>Exécutions passées, celle-ci en dernier</translation>
  </message>
  <message>
   <source>Elections and failovers</source>
   <translation>Élections et bascules</translation>
  </message>
  <message>
   <source>Ended</source>
   <translation>Terminées</translation>
  </message>
  <message>
   <source>Ending / s</source>
   <translation>Finies / s</translation>
  </message>
  <message>
   <source>Enter shows what one is about.</source>
   <translation>Entrée montre de quoi il s’agit.</translation>
  </message>
  <message>
   <source>Entries behind</source>
   <translation>Entrées de retard</translation>
  </message>
  <message>
   <source>Errors</source>
   <translation>Erreurs</translation>
  </message>
  <message>
   <source>Exception</source>
   <translation>Exception</translation>
  </message>
  <message>
   <source>Failed</source>
   <translation>Échouées</translation>
  </message>
  <message>
   <source>Failovers</source>
   <translation>Bascules</translation>
  </message>
  <message>
   <source>File</source>
   <translation>Fichier</translation>
  </message>
  <message>
   <source>Find a case</source>
   <translation>Chercher un cas</translation>
  </message>
  <message>
   <source>Find a case (Ctrl+F)</source>
   <translation>Chercher un cas (Ctrl+F)</translation>
  </message>
  <message>
   <source>Find a worker</source>
   <translation>Chercher un worker</translation>
  </message>
  <message>
   <source>Find a worker (Ctrl+F)</source>
   <translation>Chercher un worker (Ctrl+F)</translation>
  </message>
  <message>
   <source>Find in what it wrote</source>
   <translation>Chercher dans sa sortie</translation>
  </message>
  <message>
   <source>Find in what it wrote (Ctrl+F)</source>
   <translation>Chercher dans sa sortie (Ctrl+F)</translation>
  </message>
  <message>
   <source>Find what waits</source>
   <translation>Chercher ce qui attend</translation>
  </message>
  <message>
   <source>Find what waits (Ctrl+F)</source>
   <translation>Chercher ce qui attend (Ctrl+F)</translation>
  </message>
  <message>
   <source>Fitting workers</source>
   <translation>Workers adaptés</translation>
  </message>
  <message>
   <source>GPU</source>
   <translation>GPU</translation>
  </message>
  <message>
   <source>GPUs</source>
   <translation>GPU</translation>
  </message>
  <message>
   <source>Hardware</source>
   <translation>Matériel</translation>
  </message>
  <message>
   <source>Have it lead</source>
   <translation>Le faire diriger</translation>
  </message>
  <message>
   <source>Heard of</source>
   <translation>Entendu</translation>
  </message>
  <message>
   <source>Heat</source>
   <translation>Chaleur</translation>
  </message>
  <message>
   <source>Host</source>
   <translation>Hôte</translation>
  </message>
  <message>
   <source>How busy it is</source>
   <translation>Son occupation</translation>
  </message>
  <message>
   <source>How busy {name} is</source>
   <translation>Occupation de {name}</translation>
  </message>
  <message>
   <source>In all runs</source>
   <translation>Dans toutes les exécutions</translation>
  </message>
  <message>
   <source>In all runs, on all hardware</source>
   <translation>Dans toutes les exécutions, sur tout matériel</translation>
  </message>
  <message>
   <source>It hands over what it holds, and ends.</source>
   <translation>Il remet ce qu’il détient et s’arrête.</translation>
  </message>
  <message>
   <source>It hands over what it holds, and ends. What it runs begins anew elsewhere.</source>
   <translation>Il remet ce qu’il détient et s’arrête. Ce qu’il exécute recommence ailleurs.</translation>
  </message>
  <message>
   <source>It has not ended in any run.</source>
   <translation>Il ne s’est terminé dans aucune exécution.</translation>
  </message>
  <message>
   <source>It is sent nothing more; what it runs goes on.</source>
   <translation>Il ne reçoit plus rien ; ce qu’il exécute continue.</translation>
  </message>
  <message>
   <source>It is sent work again.</source>
   <translation>Il reçoit de nouveau du travail.</translation>
  </message>
  <message>
   <source>It left no files.</source>
   <translation>Il n’a laissé aucun fichier.</translation>
  </message>
  <message>
   <source>It left nothing here.</source>
   <translation>Elle n'a rien laissé ici.</translation>
  </message>
  <message>
   <source>It waits for</source>
   <translation>Elle attend</translation>
  </message>
  <message>
   <source>Its pages</source>
   <translation>Ses pages</translation>
  </message>
  <message>
   <source>Its scheduler</source>
   <translation>Son ordonnanceur</translation>
  </message>
  <message>
   <source>Keep the token in the keyring of this system</source>
   <translation>Garder le jeton dans le trousseau de ce système</translation>
  </message>
  <message>
   <source>Kind</source>
   <translation>Type</translation>
  </message>
  <message>
   <source>Kinds of work that wait</source>
   <translation>Sortes de travail en attente</translation>
  </message>
  <message>
   <source>Laid over the tests</source>
   <translation>Superposé aux tests</translation>
  </message>
  <message>
   <source>Leader</source>
   <translation>Dirigeant</translation>
  </message>
  <message>
   <source>Leave it</source>
   <translation>Ne rien faire</translation>
  </message>
  <message>
   <source>Led after</source>
   <translation>A dirigé après</translation>
  </message>
  <message>
   <source>Left to begin</source>
   <translation>Reste pour commencer</translation>
  </message>
  <message>
   <source>Let it go on</source>
   <translation>Laisser avancer</translation>
  </message>
  <message>
   <source>Level</source>
   <translation>Niveau</translation>
  </message>
  <message>
   <source>Light</source>
   <translation>Clair</translation>
  </message>
  <message>
   <source>Log</source>
   <translation>Journal</translation>
  </message>
  <message>
   <source>Longest</source>
   <translation>Plus longue</translation>
  </message>
  <message>
   <source>Look</source>
   <translation>Observer</translation>
  </message>
  <message>
   <source>Look &amp;back</source>
   <translation>Regarder en a&amp;rrière</translation>
  </message>
  <message>
   <source>Look at a cluster</source>
   <translation>Observer une grappe</translation>
  </message>
  <message>
   <source>Looking back</source>
   <translation>Regard en arrière</translation>
  </message>
  <message>
   <source>Looking for clusters on this machine …</source>
   <translation>Recherche de grappes sur cette machine …</translation>
  </message>
  <message>
   <source>Memory</source>
   <translation>Mémoire</translation>
  </message>
  <message>
   <source>Missed</source>
   <translation>Manquées</translation>
  </message>
  <message>
   <source>Needs</source>
   <translation>Besoin</translation>
  </message>
  <message>
   <source>Network</source>
   <translation>Réseau</translation>
  </message>
  <message>
   <source>Next</source>
   <translation>Suivant</translation>
  </message>
  <message>
   <source>No attempt of it is known.</source>
   <translation>Aucune tentative n’est connue.</translation>
  </message>
  <message>
   <source>No case is chosen</source>
   <translation>Aucun cas choisi</translation>
  </message>
  <message>
   <source>No case is shown.</source>
   <translation>Aucun cas n'est montré.</translation>
  </message>
  <message>
   <source>No case of this run has begun yet.</source>
   <translation>Aucun cas de cette exécution n’a encore commencé.</translation>
  </message>
  <message>
   <source>No class has had work yet.</source>
   <translation>Aucune classe n’a encore eu de travail.</translation>
  </message>
  <message>
   <source>No cluster shows itself on this machine. One does that is started with: dtf dev --web 8700</source>
   <translation>Aucune grappe ne se montre sur cette machine. Pour en lancer une qui le fait : dtf dev --web 8700</translation>
  </message>
  <message>
   <source>No coordinator has said anything yet.</source>
   <translation>Aucun coordinateur n’a encore rien dit.</translation>
  </message>
  <message>
   <source>No coordinator is known.</source>
   <translation>Aucun coordinateur n’est connu.</translation>
  </message>
  <message>
   <source>No run is chosen.</source>
   <translation>Aucune exécution n'est choisie.</translation>
  </message>
  <message>
   <source>No run of tests was seen of late.</source>
   <translation>Aucune exécution de tests n'a été vue récemment.</translation>
  </message>
  <message>
   <source>No.</source>
   <translation>N°</translation>
  </message>
  <message>
   <source>Nobody has had to take over in the time that is kept.</source>
   <translation>Personne n’a dû prendre la relève pendant la période conservée.</translation>
  </message>
  <message>
   <source>Nobody leads (term {term})</source>
   <translation>Personne ne dirige (mandat {term})</translation>
  </message>
  <message>
   <source>Nobody leads for a moment, mostly less than a second. What runs goes on.</source>
   <translation>Personne ne dirige pendant un moment, souvent moins d’une seconde. Ce qui s’exécute continue.</translation>
  </message>
  <message>
   <source>Not back</source>
   <translation>Pas revenus</translation>
  </message>
  <message>
   <source>Nothing has been heard yet.</source>
   <translation>Rien n'est encore connu.</translation>
  </message>
  <message>
   <source>Nothing is kept yet.</source>
   <translation>Rien n'est encore conservé.</translation>
  </message>
  <message>
   <source>Nothing new for {age}: {why}. What you see is of {time}.</source>
   <translation>Rien de nouveau depuis {age} : {why}. Ce qui est affiché date de {time}.</translation>
  </message>
  <message>
   <source>Nothing ran here.</source>
   <translation>Rien ne s’est exécuté ici.</translation>
  </message>
  <message>
   <source>Nothing waits.</source>
   <translation>Rien n’attend.</translation>
  </message>
  <message>
   <source>Nothing was asked for of late, by anybody.</source>
   <translation>Rien n’a été demandé récemment.</translation>
  </message>
  <message>
   <source>Notify me of new alerts</source>
   <translation>M’avertir des nouvelles alertes</translation>
  </message>
  <message>
   <source>Now</source>
   <translation>Maintenant</translation>
  </message>
  <message>
   <source>Of</source>
   <translation>De</translation>
  </message>
  <message>
   <source>On this machine, and of late</source>
   <translation>Sur cette machine, et récemment</translation>
  </message>
  <message>
   <source>Or an address</source>
   <translation>Ou une adresse</translation>
  </message>
  <message>
   <source>Outcome</source>
   <translation>Résultat</translation>
  </message>
  <message>
   <source>Output</source>
   <translation>Sortie</translation>
  </message>
  <message>
   <source>Overview</source>
   <translation>Vue d'ensemble</translation>
  </message>
  <message>
   <source>Priority &amp;class</source>
   <translation>&amp;Classe de priorité</translation>
  </message>
  <message>
   <source>Priority classes</source>
   <translation>Classes de priorité</translation>
  </message>
  <message>
   <source>Quarantine</source>
   <translation>Quarantaine</translation>
  </message>
  <message>
   <source>Queue</source>
   <translation>File d’attente</translation>
  </message>
  <message>
   <source>Queue by class</source>
   <translation>File par classe</translation>
  </message>
  <message>
   <source>Queue: tasks that wait, by class</source>
   <translation>File : tâches en attente, par classe</translation>
  </message>
  <message>
   <source>Reasons</source>
   <translation>Raisons</translation>
  </message>
  <message>
   <source>Release</source>
   <translation>Libérer</translation>
  </message>
  <message>
   <source>Reprioritise</source>
   <translation>Changer la priorité</translation>
  </message>
  <message>
   <source>Reprioritise the next one …</source>
   <translation>Changer la priorité de la prochaine …</translation>
  </message>
  <message>
   <source>Retire</source>
   <translation>Retirer</translation>
  </message>
  <message>
   <source>Role</source>
   <translation>Rôle</translation>
  </message>
  <message>
   <source>Rule</source>
   <translation>Règle</translation>
  </message>
  <message>
   <source>Run</source>
   <translation>Exécution</translation>
  </message>
  <message>
   <source>Run of</source>
   <translation>Exécution du</translation>
  </message>
  <message>
   <source>Running</source>
   <translation>En cours</translation>
  </message>
  <message>
   <source>Runs</source>
   <translation>Exécutions</translation>
  </message>
  <message>
   <source>Runs now</source>
   <translation>Exécute maintenant</translation>
  </message>
  <message>
   <source>Runs of late</source>
   <translation>Exécutions récentes</translation>
  </message>
  <message>
   <source>Save the &amp;run …</source>
   <translation>Enregistrer l'e&amp;xécution …</translation>
  </message>
  <message>
   <source>Save the chart</source>
   <translation>Enregistrer le graphique</translation>
  </message>
  <message>
   <source>Save the chart …</source>
   <translation>Enregistrer le graphique …</translation>
  </message>
  <message>
   <source>Save the run</source>
   <translation>Enregistrer l'exécution</translation>
  </message>
  <message>
   <source>Save the table</source>
   <translation>Enregistrer le tableau</translation>
  </message>
  <message>
   <source>Saved: {path}</source>
   <translation>Enregistré : {path}</translation>
  </message>
  <message>
   <source>Say what is to be otherwise.</source>
   <translation>Dites ce qui doit changer.</translation>
  </message>
  <message>
   <source>Share</source>
   <translation>Part</translation>
  </message>
  <message>
   <source>Show only: {outcome}</source>
   <translation>Montrer seulement : {outcome}</translation>
  </message>
  <message>
   <source>Since</source>
   <translation>Depuis</translation>
  </message>
  <message>
   <source>Size</source>
   <translation>Taille</translation>
  </message>
  <message>
   <source>Speed</source>
   <translation>Vitesse</translation>
  </message>
  <message>
   <source>Standing</source>
   <translation>État</translation>
  </message>
  <message>
   <source>Started</source>
   <translation>Début</translation>
  </message>
  <message>
   <source>Status</source>
   <translation>État</translation>
  </message>
  <message>
   <source>Stop the run</source>
   <translation>Arrêter l’exécution</translation>
  </message>
  <message>
   <source>Suite</source>
   <translation>Suite</translation>
  </message>
  <message>
   <source>Tasks</source>
   <translation>Tâches</translation>
  </message>
  <message>
   <source>Tasks kept</source>
   <translation>Tâches gardées</translation>
  </message>
  <message>
   <source>Tasks that need it are cancelled, too, whoever wants them. That is not undone.</source>
   <translation>Les tâches qui en dépendent sont annulées aussi, qui que ce soit qui les veuille. Cela ne se défait pas.</translation>
  </message>
  <message>
   <source>Tenant</source>
   <translation>Locataire</translation>
  </message>
  <message>
   <source>Term</source>
   <translation>Mandat</translation>
  </message>
  <message>
   <source>Term {term}, {at}: nobody led for {time} (the band).</source>
   <translation>Mandat {term}, {at} : personne n’a dirigé pendant {time} (la bande).</translation>
  </message>
  <message>
   <source>Tests that ran while the leader changed</source>
   <translation>Tests en cours au changement de dirigeant</translation>
  </message>
  <message>
   <source>The change after</source>
   <translation>Le changement suivant</translation>
  </message>
  <message>
   <source>The change before</source>
   <translation>Le changement précédent</translation>
  </message>
  <message>
   <source>The queue holds {n} of at most {m}.</source>
   <translation>La file contient {n} sur {m} au plus.</translation>
  </message>
  <message>
   <source>There are no alerts.</source>
   <translation>Il n’y a pas d’alerte.</translation>
  </message>
  <message>
   <source>There are no runs yet: `dtf run` and `pytest --dtf` make some.</source>
   <translation>Il n'y a pas encore d'exécution : `dtf run` et `pytest --dtf` en font.</translation>
  </message>
  <message>
   <source>There are no workers: `dtf worker ADDRESS` starts some.</source>
   <translation>Il n’y a pas de workers : `dtf worker ADRESSE` en démarre.</translation>
  </message>
  <message>
   <source>There is no table here.</source>
   <translation>Il n'y a pas de tableau ici.</translation>
  </message>
  <message>
   <source>This desktop has no place for notifications.</source>
   <translation>Ce bureau n’a pas de place pour des notifications.</translation>
  </message>
  <message>
   <source>This scheduler is alone: nobody takes over when it ends.</source>
   <translation>Cet ordonnanceur est seul : personne ne prend la relève quand il s’arrête.</translation>
  </message>
  <message>
   <source>Threads taken</source>
   <translation>Threads pris</translation>
  </message>
  <message>
   <source>Throughput</source>
   <translation>Débit</translation>
  </message>
  <message>
   <source>Throughput: tasks that end in a second</source>
   <translation>Débit : tâches finies par seconde</translation>
  </message>
  <message>
   <source>Time shown: {span}</source>
   <translation>Durée montrée : {span}</translation>
  </message>
  <message>
   <source>Time that is looked at</source>
   <translation>Instant observé</translation>
  </message>
  <message>
   <source>Token</source>
   <translation>Jeton</translation>
  </message>
  <message>
   <source>Token, as the cluster gave it to you</source>
   <translation>Jeton, tel que la grappe vous l’a donné</translation>
  </message>
  <message>
   <source>Took</source>
   <translation>Durée</translation>
  </message>
  <message>
   <source>Traceback</source>
   <translation>Traceback</translation>
  </message>
  <message>
   <source>Try again</source>
   <translation>Réessayer</translation>
  </message>
  <message>
   <source>Undo</source>
   <translation>Défaire</translation>
  </message>
  <message>
   <source>Undo the last action</source>
   <translation>Défaire la dernière action</translation>
  </message>
  <message>
   <source>Utilisation</source>
   <translation>Utilisation</translation>
  </message>
  <message>
   <source>Utilisation: what is taken</source>
   <translation>Utilisation : ce qui est pris</translation>
  </message>
  <message>
   <source>Views</source>
   <translation>Vues</translation>
  </message>
  <message>
   <source>Votes</source>
   <translation>Vote</translation>
  </message>
  <message>
   <source>Waiting</source>
   <translation>En attente</translation>
  </message>
  <message>
   <source>What came of it</source>
   <translation>Ce qu’il en est advenu</translation>
  </message>
  <message>
   <source>What has ended is kept; the rest is not run.</source>
   <translation>Ce qui est terminé est gardé ; le reste n’est pas exécuté.</translation>
  </message>
  <message>
   <source>What is wrong</source>
   <translation>Ce qui ne va pas</translation>
  </message>
  <message>
   <source>What it has written so far</source>
   <translation>Ce qu’il a écrit jusqu’ici</translation>
  </message>
  <message>
   <source>What ran where</source>
   <translation>Ce qui a tourné où</translation>
  </message>
  <message>
   <source>What ran where in the last 10 minutes</source>
   <translation>Ce qui a tourné où ces 10 dernières minutes</translation>
  </message>
  <message>
   <source>What the attempt left</source>
   <translation>Ce que la tentative a laissé</translation>
  </message>
  <message>
   <source>What waits, the most urgent first</source>
   <translation>Ce qui attend, le plus urgent d’abord</translation>
  </message>
  <message>
   <source>What was asked for</source>
   <translation>Ce qui a été demandé</translation>
  </message>
  <message>
   <source>What would help</source>
   <translation>Ce qui aiderait</translation>
  </message>
  <message>
   <source>When</source>
   <translation>Quand</translation>
  </message>
  <message>
   <source>When a leader dies, what ran meanwhile is shown here.</source>
   <translation>Quand un dirigeant meurt, ce qui tournait pendant ce temps est montré ici.</translation>
  </message>
  <message>
   <source>Who</source>
   <translation>Qui</translation>
  </message>
  <message>
   <source>Why</source>
   <translation>Pourquoi</translation>
  </message>
  <message>
   <source>Why is it pending?</source>
   <translation>Pourquoi est-ce en attente ?</translation>
  </message>
  <message>
   <source>Why it waits</source>
   <translation>Pourquoi elle attend</translation>
  </message>
  <message>
   <source>Why {name} gets no work, for those who see it:</source>
   <translation>Pourquoi {name} ne reçoit pas de travail, pour ceux qui le voient :</translation>
  </message>
  <message>
   <source>Without leader</source>
   <translation>Sans dirigeant</translation>
  </message>
  <message>
   <source>Worker</source>
   <translation>Worker</translation>
  </message>
  <message>
   <source>Workers</source>
   <translation>Workers</translation>
  </message>
  <message>
   <source>You look at {time}. What happens now is kept meanwhile. Back to now: Ctrl+L.</source>
   <translation>Vous regardez {time}. Ce qui se passe maintenant est conservé. Revenir à maintenant : Ctrl+L.</translation>
  </message>
  <message>
   <source>a defect of the monitor</source>
   <translation>un défaut du moniteur</translation>
  </message>
  <message>
   <source>a dtf is there that does not serve this version of the API; the monitor and the cluster are of versions that do not go together</source>
   <translation>un dtf s’y trouve, qui ne sert pas cette version de l’API ; le moniteur et le cluster ont des versions qui ne vont pas ensemble</translation>
  </message>
  <message>
   <source>a password is not written into an address</source>
   <translation>un mot de passe ne s’écrit pas dans une adresse</translation>
  </message>
  <message>
   <source>about {time}</source>
   <translation>environ {time}</translation>
  </message>
  <message>
   <source>another cluster is looked at</source>
   <translation>une autre grappe est regardée</translation>
  </message>
  <message>
   <source>another cluster is there now</source>
   <translation>un autre cluster s’y trouve maintenant</translation>
  </message>
  <message>
   <source>another cluster is there than before</source>
   <translation>un autre cluster qu’auparavant s’y trouve</translation>
  </message>
  <message>
   <source>any worker</source>
   <translation>n’importe quel worker</translation>
  </message>
  <message>
   <source>as it is</source>
   <translation>tel quel</translation>
  </message>
  <message>
   <source>as it is; or: 10 min</source>
   <translation>tel quel ; ou : 10 min</translation>
  </message>
  <message>
   <source>ask the leader</source>
   <translation>demander au dirigeant</translation>
  </message>
  <message>
   <source>bars: {n}, rows: {m}, from {start} to {end}</source>
   <translation>barres : {n}, lignes : {m}, de {start} à {end}</translation>
  </message>
  <message>
   <source>begun</source>
   <translation>commencé</translation>
  </message>
  <message>
   <source>busy, of {n}</source>
   <translation>occupés, sur {n}</translation>
  </message>
  <message>
   <source>closed</source>
   <translation>fermé</translation>
  </message>
  <message>
   <source>critical</source>
   <translation>critique</translation>
  </message>
  <message>
   <source>done</source>
   <translation>fait</translation>
  </message>
  <message>
   <source>dtf monitor</source>
   <translation>moniteur dtf</translation>
  </message>
  <message>
   <source>dtf monitor {version}</source>
   <translation>moniteur dtf {version}</translation>
  </message>
  <message>
   <source>dtf: alerts</source>
   <translation>dtf : alertes</translation>
  </message>
  <message>
   <source>dtf: {rule}</source>
   <translation>dtf : {rule}</translation>
  </message>
  <message>
   <source>ended</source>
   <translation>finies</translation>
  </message>
  <message>
   <source>ended once</source>
   <translation>terminé une fois</translation>
  </message>
  <message>
   <source>ended {n} times</source>
   <translation>arrêté {n} fois</translation>
  </message>
  <message>
   <source>error</source>
   <translation>erreur</translation>
  </message>
  <message>
   <source>failed</source>
   <translation>échec</translation>
  </message>
  <message>
   <source>flaky</source>
   <translation>instable</translation>
  </message>
  <message>
   <source>follower</source>
   <translation>suit</translation>
  </message>
  <message>
   <source>found once</source>
   <translation>trouvé une fois</translation>
  </message>
  <message>
   <source>found {n} times</source>
   <translation>trouvé {n} fois</translation>
  </message>
  <message>
   <source>half-open</source>
   <translation>mi-ouvert</translation>
  </message>
  <message>
   <source>interrupted</source>
   <translation>interrompu</translation>
  </message>
  <message>
   <source>it asks for a token, and was shown none that it takes</source>
   <translation>il demande un jeton, et aucun qu’il accepte n’a été montré</translation>
  </message>
  <message>
   <source>it begins with neither http:// nor https://</source>
   <translation>elle ne commence ni par http:// ni par https://</translation>
  </message>
  <message>
   <source>it does not answer</source>
   <translation>il ne répond pas</translation>
  </message>
  <message>
   <source>it does not speak TLS as it should</source>
   <translation>il ne parle pas TLS comme il le devrait</translation>
  </message>
  <message>
   <source>it has begun, and takes longer</source>
   <translation>cela a commencé et prend plus longtemps</translation>
  </message>
  <message>
   <source>it hung up</source>
   <translation>il a raccroché</translation>
  </message>
  <message>
   <source>it is not there</source>
   <translation>ce n'y est pas</translation>
  </message>
  <message>
   <source>it knows nobody who leads</source>
   <translation>il ne connaît personne qui mène</translation>
  </message>
  <message>
   <source>it names no machine</source>
   <translation>elle ne nomme aucune machine</translation>
  </message>
  <message>
   <source>it says nothing any more</source>
   <translation>il ne dit plus rien</translation>
  </message>
  <message>
   <source>it tells what is no JSON</source>
   <translation>il dit ce qui n’est pas du JSON</translation>
  </message>
  <message>
   <source>its certificate is not trusted</source>
   <translation>son certificat n’est pas reconnu</translation>
  </message>
  <message>
   <source>its circuit breaker is {state}</source>
   <translation>son disjoncteur est {state}</translation>
  </message>
  <message>
   <source>its node hangs</source>
   <translation>son nœud est bloqué</translation>
  </message>
  <message>
   <source>leader</source>
   <translation>mène</translation>
  </message>
  <message>
   <source>left</source>
   <translation>parti</translation>
  </message>
  <message>
   <source>left to begin</source>
   <translation>avant le début</translation>
  </message>
  <message>
   <source>lost</source>
   <translation>perdu</translation>
  </message>
  <message>
   <source>memory</source>
   <translation>mémoire</translation>
  </message>
  <message>
   <source>next: {key}</source>
   <translation>prochaine : {key}</translation>
  </message>
  <message>
   <source>no</source>
   <translation>non</translation>
  </message>
  <message>
   <source>no answer in time</source>
   <translation>pas de réponse à temps</translation>
  </message>
  <message>
   <source>no cluster is looked at</source>
   <translation>aucun cluster n’est regardé</translation>
  </message>
  <message>
   <source>no deadline</source>
   <translation>pas d’échéance</translation>
  </message>
  <message>
   <source>no numbers yet</source>
   <translation>pas encore de chiffres</translation>
  </message>
  <message>
   <source>nobody is there</source>
   <translation>personne n’est là</translation>
  </message>
  <message>
   <source>nobody leads</source>
   <translation>personne ne mène</translation>
  </message>
  <message>
   <source>nobody listens there</source>
   <translation>personne n’y écoute</translation>
  </message>
  <message>
   <source>none</source>
   <translation>aucun</translation>
  </message>
  <message>
   <source>none is seen</source>
   <translation>aucun n'est vu</translation>
  </message>
  <message>
   <source>none yet</source>
   <translation>pas encore</translation>
  </message>
  <message>
   <source>nothing is wrong</source>
   <translation>rien d’anormal</translation>
  </message>
  <message>
   <source>nothing that has a deadline has waited</source>
   <translation>rien de ce qui a une échéance n’a attendu</translation>
  </message>
  <message>
   <source>odd</source>
   <translation>étrange</translation>
  </message>
  <message>
   <source>of all workers'</source>
   <translation>de tous les workers</translation>
  </message>
  <message>
   <source>of {n}</source>
   <translation>sur {n}</translation>
  </message>
  <message>
   <source>on {n} thread</source>
   <translation>sur {n} thread</translation>
  </message>
  <message>
   <source>on {n} threads</source>
   <translation>sur {n} threads</translation>
  </message>
  <message>
   <source>only the end of it is shown</source>
   <translation>seule la fin est montrée</translation>
  </message>
  <message>
   <source>open</source>
   <translation>ouvert</translation>
  </message>
  <message>
   <source>passed</source>
   <translation>réussi</translation>
  </message>
  <message>
   <source>paused</source>
   <translation>en pause</translation>
  </message>
  <message>
   <source>refused</source>
   <translation>refusé</translation>
  </message>
  <message>
   <source>run {run}</source>
   <translation>exécution {run}</translation>
  </message>
  <message>
   <source>running</source>
   <translation>en cours</translation>
  </message>
  <message>
   <source>schedulers are there; say where the pages of the cluster are, as `dtf dev --web 8700` or `dtf coordinator --web 8700` serves them</source>
   <translation>des planificateurs s’y trouvent ; dites où sont les pages du cluster, telles que `dtf dev --web 8700` ou `dtf coordinator --web 8700` les sert</translation>
  </message>
  <message>
   <source>shut</source>
   <translation>fermé</translation>
  </message>
  <message>
   <source>skipped</source>
   <translation>ignoré</translation>
  </message>
  <message>
   <source>something answers there, and it does not speak HTTP</source>
   <translation>quelque chose y répond, et ne parle pas HTTP</translation>
  </message>
  <message>
   <source>something answers there, and it is no dtf</source>
   <translation>quelque chose y répond, et ce n’est pas un dtf</translation>
  </message>
  <message>
   <source>that is no address</source>
   <translation>ce n’est pas une adresse</translation>
  </message>
  <message>
   <source>the answer is too large</source>
   <translation>la réponse est trop grande</translation>
  </message>
  <message>
   <source>the connection broke</source>
   <translation>la connexion s’est rompue</translation>
  </message>
  <message>
   <source>the token is not kept</source>
   <translation>le jeton n’est pas gardé</translation>
  </message>
  <message>
   <source>there is no machine of that name</source>
   <translation>il n’y a pas de machine de ce nom</translation>
  </message>
  <message>
   <source>this machine was asleep</source>
   <translation>cette machine dormait</translation>
  </message>
  <message>
   <source>this system has no keyring</source>
   <translation>ce système n’a pas de trousseau</translation>
  </message>
  <message>
   <source>threads</source>
   <translation>threads</translation>
  </message>
  <message>
   <source>timeout</source>
   <translation>délai dépassé</translation>
  </message>
  <message>
   <source>to be read: {n}</source>
   <translation>à lire : {n}</translation>
  </message>
  <message>
   <source>unknown</source>
   <translation>inconnu</translation>
  </message>
  <message>
   <source>warning</source>
   <translation>attention</translation>
  </message>
  <message>
   <source>what is answered is not understood</source>
   <translation>la réponse n’est pas comprise</translation>
  </message>
  <message>
   <source>who leads tells nothing</source>
   <translation>celui qui mène ne dit rien</translation>
  </message>
  <message>
   <source>yes</source>
   <translation>oui</translation>
  </message>
  <message>
   <source>{first}; most cannot be reached.</source>
   <translation>{first} ; la plupart sont injoignables.</translation>
  </message>
  <message>
   <source>{first}; none may fail.</source>
   <translation>{first} ; aucun ne peut tomber.</translation>
  </message>
  <message>
   <source>{first}; one may fail.</source>
   <translation>{first} ; un seul peut tomber.</translation>
  </message>
  <message>
   <source>{first}; {n} may fail.</source>
   <translation>{first} ; {n} peuvent tomber.</translation>
  </message>
  <message>
   <source>{glyph} {age} old</source>
   <translation>{glyph} il y a {age}</translation>
  </message>
  <message>
   <source>{kind}: {n} passed, {m} not</source>
   <translation>{kind} : {n} réussis, {m} non</translation>
  </message>
  <message>
   <source>{name} (read from)</source>
   <translation>{name} (lu ici)</translation>
  </message>
  <message>
   <source>{name} leads</source>
   <translation>{name} mène</translation>
  </message>
  <message>
   <source>{name} leads in term {term}</source>
   <translation>{name} dirige, mandat {term}</translation>
  </message>
  <message>
   <source>{name}, on this machine: {where}</source>
   <translation>{name}, sur cette machine : {where}</translation>
  </message>
  <message>
   <source>{n} GPU</source>
   <translation>{n} GPU</translation>
  </message>
  <message>
   <source>{n} GPUs</source>
   <translation>{n} GPU</translation>
  </message>
  <message>
   <source>{n} alert</source>
   <translation>{n} alerte</translation>
  </message>
  <message>
   <source>{n} alerts</source>
   <translation>{n} alertes</translation>
  </message>
  <message>
   <source>{n} failed in all</source>
   <translation>{n} échecs en tout</translation>
  </message>
  <message>
   <source>{n} gone of late</source>
   <translation>{n} partis récemment</translation>
  </message>
  <message>
   <source>{n} held back</source>
   <translation>{n} retenues</translation>
  </message>
  <message>
   <source>{n} lost of late</source>
   <translation>{n} perdus récemment</translation>
  </message>
  <message>
   <source>{n} missed</source>
   <translation>{n} manquées</translation>
  </message>
  <message>
   <source>{n} of {m}</source>
   <translation>{n} sur {m}</translation>
  </message>
  <message>
   <source>{n} of {m} case</source>
   <translation>{n} cas sur {m}</translation>
  </message>
  <message>
   <source>{n} of {m} cases</source>
   <translation>{n} cas sur {m}</translation>
  </message>
  <message>
   <source>{n} task waits.</source>
   <translation>{n} tâche attend.</translation>
  </message>
  <message>
   <source>{n} tasks wait.</source>
   <translation>{n} tâches attendent.</translation>
  </message>
  <message>
   <source>{n} thread</source>
   <translation>{n} thread</translation>
  </message>
  <message>
   <source>{n} threads</source>
   <translation>{n} threads</translation>
  </message>
  <message>
   <source>{n} worker</source>
   <translation>{n} worker</translation>
  </message>
  <message>
   <source>{n} workers</source>
   <translation>{n} workers</translation>
  </message>
  <message>
   <source>{path} cannot be written</source>
   <translation>{path} ne peut pas être écrit</translation>
  </message>
  <message>
   <source>{run}: {n} of {m} cases are read</source>
   <translation>{run} : {n} cas lus sur {m}</translation>
  </message>
  <message>
   <source>{size}/s</source>
   <translation>{size}/s</translation>
  </message>
  <message>
   <source>{span} are kept</source>
   <translation>{span} conservés</translation>
  </message>
  <message>
   <source>{suite}, run {run}</source>
   <translation>{suite}, exécution {run}</translation>
  </message>
  <message>
   <source>{time}, {ago} ago</source>
   <translation>{time}, il y a {ago}</translation>
  </message>
  <message>
   <source>{what}: asked …</source>
   <translation>{what} : demandé …</translation>
  </message>
  <message>
   <source>{what}: {outcome}, on {row}, {start}, {took}</source>
   <translation>{what} : {outcome}, sur {row}, {start}, {took}</translation>
  </message>
  <message>
   <source>{what}?</source>
   <translation>{what} ?</translation>
  </message>
  <message>
   <source>{where}: {why}. Another address: Ctrl+O.</source>
   <translation>{where} : {why}. Une autre adresse : Ctrl+O.</translation>
  </message>
  <message>
   <source>… and {n} more</source>
   <translation>… et {n} de plus</translation>
  </message>
  <message>
   <source>○ Looking for a cluster …</source>
   <translation>○ Recherche d'une grappe …</translation>
  </message>
  <message>
   <source>○ No cluster is looked at. Choose one: Ctrl+O.</source>
   <translation>○ Aucun cluster n’est regardé. En choisir un : Ctrl+O.</translation>
  </message>
  <message>
   <source>○ {where}: {why}</source>
   <translation>○ {where} : {why}</translation>
  </message>
  <message>
   <source>● Live from {where}</source>
   <translation>● En direct de {where}</translation>
  </message>
  <message>
   <source>◐ Connecting to {where} …</source>
   <translation>◐ Connexion à {where} …</translation>
  </message>
  <message>
   <source>◐ {where}: {why}</source>
   <translation>◐ {where} : {why}</translation>
  </message>
  <message>
   <source>✓ Nothing is wrong.</source>
   <translation>✓ Tout va bien.</translation>
  </message>
 </context>
</TS>
